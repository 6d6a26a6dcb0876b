"""F2: tweets of persons in their own words. No flag says what a tweet is, so names and texts have to."""

from __future__ import annotations

from humanllm_assets.filtering.rule import USER_NAME, Rule, RuleSet, matches
from resources.sources import TwitterRules

_RETWEET = r"^\s*RT @"
# A quote tweet carries a link to the tweet it quotes, or repeats it behind "RT @" or "QT @". Twitter shortens such links to
# t.co, as it does with photos and articles: a link at the end alone proves nothing (`trailing_link_is_quote` drops them all).
_QUOTE = r"(twitter|x)\.com/[A-Za-z0-9_]+/status(es)?/[0-9]+|[^A-Za-z0-9](RT|QT):? @"
_TRAILING_LINK = r"https?://t\.co/[A-Za-z0-9]+\s*$"
# Brand accounts by name: words that organisations end their names with; short ones only where they stand apart.
_BRAND_NAME = (
    r"(official|news|media|press|magazine|radio|store|shop|outlet|deals|coupons?|jobs|careers|support|helpdesk"
    r"|foundation|institute|university|ministry|embassy|agency|company|airlines?|brands?)_?[0-9]*$|^(official|team)_"
)
_BRAND_SUFFIX = r"[a-z0-9](HQ|TV|Inc|LLC|Ltd|Corp|Gov)$|_(hq|tv|inc|llc|ltd|corp|gov)$"  # case counts
_BRAND_TEXT = (
    r"\bour (valued |loyal |amazing )?(customers?|clients?|products|services|online store|newsletter|stores|brand|showroom)\b"
    r"|\bwe('re| are) (hiring|recruiting|(proud|excited|pleased|thrilled|delighted) to announce)\b"
    r"|\bjoin our team\b|\bpress release\b"
)
_AD_TEXT = (
    r"\b(promo|discount|coupon|voucher) codes?\b|\buse code\b|\b(buy|order|shop|book|register|sign up|subscribe) (now|today)\b"
    r"|\bfree shipping\b|\blink in (my |our )?bio\b|\blimited[- ]time\b|\bgiveaway\b|[0-9]{1,2} ?% (off|discount)"
    r"|\bpre-?order\b|\bclick (here|the link)\b|#(ad|sponsored|promo)\b|\baffiliate\b|\bairdrop\b|\bdm (me|us) (for|to)\b"
)
_AD_LINKS = r"(?s)(https?://.*){3}"
_AD_HASHTAGS = r"(?s)(#\w+.*){8}"


def _list_rules(rules: TwitterRules) -> list[Rule]:
    brand = f"{matches(USER_NAME, _BRAND_NAME)} OR {matches(USER_NAME, _BRAND_SUFFIX, 'c')} OR {matches('text', _BRAND_TEXT)}"
    quote = matches("text", _QUOTE)
    if rules.trailing_link_is_quote:
        quote += f" OR {matches('text', _TRAILING_LINK)}"
    return [
        Rule("empty_text", "n_chars = 0"),
        Rule("retweet", matches("text", _RETWEET, "c")),
        Rule("quote_tweet", quote),
        Rule("brand_account", brand),
        Rule("advertisement", " OR ".join(matches("text", pattern) for pattern in (_AD_TEXT, _AD_LINKS, _AD_HASHTAGS))),
        Rule("too_short", f"n_chars < {rules.min_chars}"),
    ]


RULES = RuleSet("F2", _list_rules)
