"""Asking language models: requests in, validated replies out, through a journal that remembers every answer.

- `requests.py`: what is asked and replied, and what it cost.
- `open_request.py`: one request on its way: its question, its key, the form of its answers, its next attempt.
- `journal.py`: every answer ever got, by the key of its question. `journal_group.py`: many of them in one commit.
  `used_answers.py`: which of them replies were made from.
- `budget.py`: how much one refresh may spend, over all processes.
- `asker.py`: what a step sees: models, and replies from the journal. `rehearsal.py`: an asker that asks nothing and counts.
- `engine.py`: the asker with servers. `attempts.py`: until a reply is valid, one asker per question, within the budget.
- `transport.py`: which server a request goes to, and what is done until it answers. `connections.py`, `counting.py`: HTTP, tokens.
- `local_servers.py`: vLLM servers of this machine, as a client sees them. `supervisor.py`: the process that keeps one running.
  `server_folder.py`: the files by which they talk.
- `dummy_server.py`: a server with made-up answers.
"""
