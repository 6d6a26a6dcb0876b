"use strict";
// The sheet's own script: it reads what the page shows, never writes HTML, and fetches nothing.
(() => {
  const $ = (id) => document.getElementById(id);
  const body = document.body.dataset;
  const columns = JSON.parse(body.columns), questions = JSON.parse(body.questions), fixed = JSON.parse(body.cells);
  const items = [...document.querySelectorAll("article")].map((node) => ({
    node,
    cells: JSON.parse(node.dataset.cells),
    fields: [...node.querySelectorAll("fieldset")],
    comment: node.querySelector("textarea"),
  }));
  const store = "humanllm-human-check:" + fixed.sample + ":";
  let current = 0;

  const warn = () => { $("storage").hidden = false; };
  const load = (key) => { try { return localStorage.getItem(store + key); } catch { warn(); return null; } };
  const save = (key, value) => { try { localStorage.setItem(store + key, value); } catch { warn(); } };
  const name = () => $("annotator").value.trim();

  const scoreOf = (field) => {
    const chosen = field.querySelector("input:checked");
    return chosen ? chosen.value : "";
  };
  const setScore = (field, score) => {
    for (const input of field.querySelectorAll("input")) input.checked = input.value === score;
  };
  const isDone = (item) => item.fields.every(scoreOf);

  const remember = () => {
    const state = {};
    for (const item of items) {
      const scores = {};
      for (const field of item.fields) if (scoreOf(field)) scores[field.dataset.question] = scoreOf(field);
      if (Object.keys(scores).length || item.comment.value) state[item.cells.item_id] = { scores, comment: item.comment.value };
    }
    save("scores:" + name(), JSON.stringify(state));
    show();
  };

  // Everybody's scores are kept under their own name: a second annotator on the same machine sees none of the first's.
  const recall = () => {
    const known = name() ? JSON.parse(load("scores:" + name()) || "{}") : {};
    for (const item of items) {
      const own = known[item.cells.item_id] || { scores: {}, comment: "" };
      for (const field of item.fields) {
        setScore(field, own.scores[field.dataset.question] || "");
        field.disabled = !name();
      }
      item.comment.value = own.comment;
      item.comment.disabled = !name();
    }
    if (name()) save("last", name());
    $("download").disabled = !name();
    const open = items.findIndex((item) => !isDone(item));
    current = open < 0 ? 0 : open;
    show();
  };

  const show = () => {
    items.forEach((item, i) => { item.node.hidden = i !== current; });
    const done = items.filter(isDone).length;
    $("position").textContent = "Item " + (current + 1) + " of " + items.length;
    $("done").textContent = done + " of " + items.length + " scored";
    $("progress").value = done;
    $("previous").disabled = current === 0;
    $("next").disabled = current === items.length - 1;
  };

  const go = (place) => {
    if (place < 0 || place >= items.length) return;
    current = place;
    show();
    window.scrollTo(0, 0);
    focusOn(items[current].fields.find((field) => !scoreOf(field)) || items[current].fields[0]);
  };
  const focusOn = (field) => {
    if (field) (field.querySelector("input:checked") || field.querySelector("input")).focus();
  };

  // A cell that begins like a formula gets an apostrophe, as in the sheet that the command writes and reads.
  const cell = (text) => '"' + (/^'*(?:\s*[=+\-@|%]|[\t\r\n])/.test(text) ? "'" : "") + text.replaceAll('"', '""') + '"';
  const csv = () => {
    const lines = [columns];
    for (const item of items) {
      const own = { annotator: name(), comment: item.comment.value, ...fixed, ...item.cells };
      for (const question of questions) own[question] = "n/a";
      for (const field of item.fields) own[field.dataset.question] = scoreOf(field);
      lines.push(columns.map((column) => own[column]));
    }
    return "\ufeff" + lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
  };

  $("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "scores-" + fixed.sample + "-" + name().replace(/[^\p{L}\p{N}]+/gu, "-") + ".csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  $("annotator").addEventListener("change", recall);
  $("previous").addEventListener("click", () => go(current - 1));
  $("next").addEventListener("click", () => go(current + 1));
  document.addEventListener("input", (event) => { if (event.target.closest("article")) remember(); });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("textarea, #annotator")) return;
    const fields = items[current].fields;
    if (event.key === "n") go(current + 1);
    else if (event.key === "p") go(current - 1);
    else if (/^[0-9]$/.test(event.key) || event.key === "Backspace" || event.key === "Delete") {
      const focused = document.activeElement && document.activeElement.closest("fieldset");
      const field = focused || fields.find((f) => !scoreOf(f)) || fields[0];
      if (field.disabled) return;
      const digit = /^[0-9]$/.test(event.key);
      setScore(field, digit ? (event.key === "0" ? "10" : event.key) : "");
      remember();
      focusOn(digit ? fields[fields.indexOf(field) + 1] || field : field);
    } else return;
    event.preventDefault();
  });

  $("progress").max = items.length;
  $("annotator").value = load("last") || "";
  recall();
})();
