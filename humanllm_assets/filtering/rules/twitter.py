"""F2: tweets of persons in their own words. No flag says what a tweet is, so names and texts have to."""

from __future__ import annotations

from humanllm_assets.filtering.rule import USER_NAME, Rule, RuleSet, as_words, matches, too_short
from resources.sources import TwitterRules

# Before Twitter had a button, people marked what they took over from others: `rt @name`, `RT: @name`, `RT "@name: ...`, `MT @name`
# (shortened), `QT @name` and `"@name: ...` (with words of their own). `via @name` and `HT @name` only thank.
_NAME = "[@＠][A-Za-z0-9_]{1,20}"
_MARK = rf"""[\s:.,|"“”„«'‘’(\[\p{{Z}}]*{_NAME}"""
_RETWEET = rf"^[^\p{{L}}\p{{N}}@＠#]*(?:(?:RT|MT|retweet(?:ed)?){_MARK}|[♺♻🔁]\x{{fe0f}}?{_MARK})"
_REPEATED = (
    rf"""^[\s\p{{Z}}]*["“”„«][\s\p{{Z}}]*{_NAME}(?:[\s\p{{Z}}]*:|[\s\p{{Z}}][^"“”»]*["”»])"""
    rf"|(?:^|[^\p{{L}}\p{{N}}@＠#])(?:RT|QT|(?-i:MT)){_MARK}"
)
# A quote tweet carries a link to the tweet it quotes, or repeats it behind "RT @" or "QT @". Twitter shortens such links to
# t.co, as it does with photos and articles: a link at the end alone proves nothing (`trailing_link_is_quote` drops them all).
_QUOTE = rf"(?:^|[^\p{{L}}\p{{N}}])(?:twitter|x)\.com/(?:i/web|[A-Za-z0-9_]+)/status(?:es)?/[0-9]+|{_REPEATED}"
_TRAILING_LINK = r"https?://t\.co/[A-Za-z0-9]+\s*$"
# Brand accounts by name: a name whose last word is one that organisations end their names with. It must stand as a word, by its
# capital (`HarbourShop`), an underscore or a digit: in one case, `lizbishop` and `annacypress` end like a shop and the press. A few
# words are the end of no name. "Brand" alone is a surname.
_BRAND_WORDS = [
    "official",
    "news",
    "media",
    "press",
    "magazine",
    "radio",
    "store",
    "shop",
    "outlet",
    "deals",
    "coupon",
    "coupons",
    "jobs",
    "careers",
    "support",
    "helpdesk",
    "foundation",
    "institute",
    "university",
    "ministry",
    "embassy",
    "agency",
    "company",
    "airline",
    "airlines",
    "brands",
]
_CLEAR_WORDS = "official|magazine|foundation|institute|university|ministry|embassy|airlines?|helpdesk|coupons?|news"
_BRAND_NAME = (
    rf"(?:^|[_0-9])(?i:{'|'.join(_BRAND_WORDS)})_?[0-9]*$|[a-z0-9A-Z](?:{'|'.join(w.title() for w in _BRAND_WORDS)})_?[0-9]*$"
    rf"|[a-z](?:{'|'.join(w.upper() for w in _BRAND_WORDS)})_?[0-9]*$|(?i:{_CLEAR_WORDS})_?[0-9]*$|^(?i:official|team)_"
)
_BRAND_SUFFIX = r"[a-z0-9](HQ|TV|Inc|LLC|Ltd|Corp|Gov)$|_(hq|tv|inc|llc|ltd|corp|gov)$"
_BRAND_TEXT = as_words(
    r"our (valued |loyal |amazing )?(customers?|clients?|products|services|online store|newsletter|stores|brand|showroom)"
    r"|we(['’]re| are) (hiring|recruiting|(proud|excited|pleased|thrilled|delighted) to announce)"
    r"|join our team|press release"
)
_AD_WORDS = as_words(
    r"(promo|discount|coupon|voucher) codes?|use code|(buy|order|shop|book|register|sign up|subscribe) (now|today)"
    r"|free shipping|link in (my |our )?bio|limited[- ]time|giveaway"
    r"|pre-?order|click (here|the link)|affiliate|airdrop|dm (me|us) (for|to)"
)
_AD_TEXT = rf"{_AD_WORDS}|[0-9]{{1,2}} ?% (off|discount)|#(ad|sponsored|promo)(?:[^\p{{L}}\p{{M}}\p{{N}}_]|$)"
_AD_LINKS = r"(?s)(https?://.*){3}"
_AD_HASHTAGS = r"(?s)(#[\p{L}\p{N}_]+.*){8}"


def _list_rules(rules: TwitterRules) -> list[Rule]:
    brand = f"{matches(USER_NAME, f'{_BRAND_NAME}|{_BRAND_SUFFIX}', 'c')} OR {matches('text', _BRAND_TEXT)}"
    quote = matches("text", _QUOTE)
    if rules.trailing_link_is_quote:
        quote += f" OR {matches('text', _TRAILING_LINK)}"
    return [
        Rule("empty_text", "n_chars = 0"),
        Rule("retweet", matches("text", _RETWEET)),
        Rule("quote_tweet", quote),
        Rule("brand_account", brand),
        Rule("advertisement", " OR ".join(matches("text", pattern) for pattern in (_AD_TEXT, _AD_LINKS, _AD_HASHTAGS))),
        # Addresses count: a tweet has 280 characters at most without the links that Twitter adds, and the paper asks for 300.
        too_short(rules.min_chars, markup=False),
    ]


RULES = RuleSet("F2", _list_rules)
