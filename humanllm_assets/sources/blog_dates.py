"""Dates of blog posts: day, month and year, with the month's name in the language that the blogger had chosen.

What does not make one certain day is no date: a name that is two months in two languages, a 31st of June, a number for the month.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from functools import lru_cache

from humanllm_assets.sources.files import CP1252

# January to December as `_fold` leaves them: the names that the Unicode CLDR gives for the languages of Europe, alone and within
# a date, and the short ones of English, German, Dutch, French, Spanish, Portuguese and Italian. Not here: what is a short or
# whole name of two months, such as `listopad` (November in Polish and Czech, October in Croatian).
_NAMES = (
    "degener degenier eanair ene enero gen gener genier gennaio ianuarie ionawr jaanuar jan janar janeiro jannar januar "
    "januara januari january janv janvaris janvier leden ledna ocak sausio sausis sijecanj sijecnja styczen stycznia "
    "tammikuu tammikuuta urtarrila xaneiro ιανουαριοσ ιανουαριου студзень студзеня січень січня январь января януари јануар "
    "јануари",
    "chwefror defebrer defebrier feabhra feb febbraio febreiro febrer febrero febrier februar februara februari februarie "
    "februaris february fev fevereiro fevr fevrier frar helmikuu helmikuuta lutego luty otsaila shkurt subat unor unora "
    "vasario vasaris veebruar veljaca veljace φεβρουαριοσ φεβρουαριου лютага лютии лютого люты фебруар февраль февраля "
    "февруари",
    "brezen brezna demarc kovas kovo maaliskuu maaliskuuta maart maerz mar marc marca march marcius marco marec mars mart "
    "marta martie marts martxoa marz marzec marzo marzu mawrth mrt ozujak ozujka μαρτιοσ μαρτιου березень березня март "
    "марта сакавік сакавіка",
    "abr abrell abril aibrean apirila apr april aprila aprile aprilie aprilis aprill avr avril balandis balandzio dabril "
    "duben dubna ebrill huhtikuu huhtikuuta kwiecien kwietnia nisan prill travanj travnja απριλιοσ απριλιου апрель апреля "
    "април квітень квітня красавік красавіка",
    "bealtaine demai demaig geguze geguzes kveten kvetna mag maggio mai maiatza maig maijs maio maj maja majus may mayis "
    "mayo mee mei mejju svibanj svibnja toukokuu toukokuuta μαιοσ μαιου маи мая мај травень травня",
    "birzelio birzelis cerven cervna czerwca czerwiec dejunh dejuny ekaina giu giugno gunju haziran iunie juin jun juna "
    "june junh junho juni junij junijs junio junius juny juuni kesakuu kesakuuta lipanj lipnja mehefin meitheamh qershor "
    "xuno ιουνιοσ ιουνιου июнь июня червень червня чэрвень чэрвеня юни јун јуни",
    "cervence cervenec dejulhet dejuliol gorffennaf heinakuu heinakuuta iuil iulie juil juillet jul jula julhet julho juli "
    "julij julijs julio juliol julius july juuli korrik liepa liepos lipca lipiec lug luglio lulju srpanj srpnja temmuz "
    "uztaila xullo ιουλιοσ ιουλιου июль июля липень липня ліпень ліпеня юли јул јули",
    "abuztua ago agost agosto agust agustos aout aug august augusta augusti augusts augustus augusztus avgust awst awwissu "
    "dagost elokuu elokuuta gusht kolovoz kolovoza lunasa rugpjucio rugpjutis sierpien sierpnia srpen srpna αυγουστοσ "
    "αυγουστου август августа жнівень жніуня серпень серпня",
    "desetembre eylul iraila meanfomhair medi rugsejis rugsejo rujan rujna sep sept septembar september septembra septembre "
    "septembrie septembris septiembre set setembre setembro settembre settembru shtator syyskuu syyskuuta szeptember "
    "wrzesien wrzesnia zari σεπτεμβριοσ σεπτεμβριου верасень верасня вересень вересня сентябрь сентября септембар септември",
    "deireadhfomhair doctobre doctubre ekim hydref lokakuu lokakuuta oct october octobre octombrie octubre okt oktobar "
    "oktober oktobra oktobris oktoober ott ottobre ottubru out outubro pazdziernik pazdziernika rijen rijna spalio spalis "
    "tetor urria οκτωβριοσ οκτωβριου жовтень жовтня кастрычнік кастрычніка октобар октомври октябрь октября",
    "azaroa denovembre kasim lapkricio lapkritis listopadu marraskuu marraskuuta nentor noiembrie nov novembar november "
    "novembra novembre novembris novembro novembru noviembre samhain studeni studenoga tachwedd νοεμβριοσ νοεμβριου "
    "листопад листопада лістапад лістапада новембар ноември ноябрь ноября",
    "abendua aralik dec decembar december decembra decembre decembrie decembris decembro dedecembre dedesembre desember "
    "desembre detsember dez dezember dezembro dhjetor dic dicembre dicembru diciembre grudnia grudzien gruodis gruodzio "
    "joulukuu joulukuuta nollaig prosinac prosinca prosince prosinec rhagfyr δεκεμβριοσ δεκεμβριου грудень грудня декабрь "
    "декабря декември децембар снежань снежня",
)
_MONTHS = {name: month for month, names in enumerate(_NAMES, start=1) for name in names.split()}
_WRITTEN = re.compile(r"([0-9]{1,2})[\s,./-]+([^\d\s,./-][^\d,/-]*?)[\s,./-]+([0-9]{4})")
_ISO = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T]00:00(?::00)?)?")
_MISREAD_AS_CP1252 = ("utf-8", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257")
_CP1252_BYTES = {char: bytes([code]) for code, char in enumerate(CP1252)}


@lru_cache(maxsize=1 << 16)
def read_day(text: str) -> str | None:
    """The day as `2004-05-31`; None where the text is not one certain day.

    Args:
        text: such as `31,May,2004`, `31 mai 2004` or `2004-05-31`. Case, accents and dots are all one, and a month's name may
            have been stored in another encoding than it was read in.
    """
    text = text.strip()
    if iso := _ISO.fullmatch(text):
        return _day(iso[1], int(iso[2]), iso[3])
    written = _WRITTEN.fullmatch(text)
    month = _month(written[2]) if written else None
    return _day(written[3], month, written[1]) if written and month else None


def _day(year: str, month: int, day: str) -> str | None:
    try:
        return date(int(year), month, int(day)).isoformat()
    except ValueError:  # there is no such day
        return None


def _month(name: str) -> int | None:
    if month := _MONTHS.get(_fold(name)):
        return month
    try:
        stored = b"".join(_CP1252_BYTES[char] for char in name)
    except KeyError:
        return None
    found = {_MONTHS.get(_fold(stored.decode(encoding, "replace"))) for encoding in _MISREAD_AS_CP1252} - {None}
    return found.pop() if len(found) == 1 else None


def _fold(name: str) -> str:
    """The letters alone, small and without accents."""
    plain = unicodedata.normalize("NFKD", name.casefold()).replace("\u0131", "i")
    return "".join(char for char in plain if char.isalpha())
