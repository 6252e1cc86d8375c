"""What is certainly no instruction: a question, a condition, a report, or what not to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from vla_ros.tasks.reading.parts import Part
from vla_ros.tasks.reading.robot import RobotWords

# Politeness that looks like a question, a condition or a negation; it is taken out first.
_COURTESY = re.compile(
    r"\b(?:"
    r"if you (?:would|could|can|will|do not mind|please|wish|like|must|want)(?: (?:not mind"
    r"|be so kind"
    r"|be so good|please|like|mind|kindly|be a dear))?(?: as to)?"
    r"|if (?:it is )?(?:possible|at all possible|convenient|ok|okay|not too much trouble"
    r"|no trouble)"
    r"|if (?:it is not|that is not|it does not) (?:too much (?:trouble|bother|to ask)|bother you)"
    r"|if that is (?:ok|okay|alright|all right|possible)(?: with you)?"
    r"|if i (?:may|might|could)(?: ask| say so| be so bold)?"
    r"|if (?:it|that) (?:pleases?|suits|would please)(?: you)?"
    r"|if you (?:fancy|feel like it|will|dare)"
    r"|(?:i|we) would be (?:[a-z]+ )?(?:grateful|glad|happy|obliged|delighted|thankful|relieved"
    r"|pleased) if(?: you(?: would| could)?)?"
    r"|as soon as (?:you can|possible)|when(?:ever)? (?:you are ready|you can|you get a chance"
    r"|you have (?:a|got a) (?:moment|sec|second"
    r"|minute|chance)|ready|possible|convenient)"
    r"|(?:why|would|could|can|will) (?:do )?(?:not )?you(?: not)?(?: please| kindly| just| mind"
    r"| like)*"
    r"(?! (?:see|hear)\b)"
    r"|i (?:suppose|guess|believe|think) you (?:should|could|can|might)|i (?:said|repeat|say)"
    r"|you (?:would|had) better|do you mind if i ask you to|no (?:rush|hurry)|i (?:have not got"
    r"|do not have) (?:all day|time)|without (?:delay"
    r"|turning)"
    r"|do you (?:mind|think you (?:could|can|might)|want to|fancy)"
    r"|would it be (?:ok|okay|possible|alright) (?:for you )?(?:to|if you)"
    r"|(?:is it|would it be) (?:at all )?possible (?:for you )?to"
    r"|are you able to|do not (?:forget|hesitate|be shy) to|how about(?: you)?|what about"
    r"|(?:may|can|could|might) i (?:ask|get|trouble|bother|have) you(?: to)?"
    r"|(?:can|could|may) i (?:have|get|see)|(?:can|could|shall) we(?! (?:see|hear)\b)"
    r"|i (?:wonder|was wondering) if you (?:could|would|might|can)"
    r"|not too (?:far|fast|quickly|much|hard)|is not it|are not you|all right"
    r"|do not be (?:shy|afraid|scared|silly|timid|nervous)|no (?:problem"
    r"|worries)"
    r"|it would be (?:nice|great|lovely|good|helpful|wonderful) if you (?:could|would)"
    r"|(?:it does not|does not|do not) (?:really )?matter(?: (?:which|what|how|who)(?: one)?)?"
    r"|i do not (?:mind|care)(?: (?:which|what|how)(?: one)?)?"
    r"|would not you|i would (?:love|like|appreciate|prefer) it if you(?: would| could)?"
    r")(?!\S)"
)
_STANDSTILL = re.compile(
    r"(?:(?:you|the robot) (?:must|should|may|can|shall)|do) not (?:you )?(?:dare |you dare "
    r"|ever )?(?:move|budge|go anywhere|go any (?:further|farther|closer)|move any (?:further"
    r"|closer)"
    r"|take another step|come any (?:closer|nearer)|move a (?:muscle|millimetre|thing)|stir"
    r"|do anything|make a move"
    r"|drive on|go on|keep going|continue|twitch|advance|even move|drive any (?:further"
    r"|farther)|proceed|take one more step"
    r"|go (?:further|farther|there)|touch anything|come closer|carry on|move another (?:inch"
    r"|step))\b"
    r"|\bnot (?:another|one more) (?:inch|step|centimetre|centimeter|metre|move|millimetre"
    r"|muscle)"
    r"|\bno (?:further|farther|more)\b|"
    r"\bno [a-z]+ing\b(?! \[item\]| it| that)|\bnot any (?:further|farther)"
    r"|^(?:no )+(?!need|reason|way|one|body|[a-z]+ing (?:\[item\]|it|that))"
    r"|\b(?:nobody|no one|nothing) (?:moves?|goes anywhere)\b"
    r"|\bnot so fast\b|\bdo nothing\b|\bnothing (?:more|else)\b|\bnot \[(?:distance|little)\]"
)
NEGATIONS = frozenset(
    [
        "not",
        "never",
        "without",
        "except",
        "unless",
        "avoid",
        "refrain",
        "nobody",
        "none",
        "neither",
        "nor",
        "instead",
        "no",
        "hardly",
        "nothing",
        "nowhere",
    ]
)
_KEEP_OFF = re.compile(
    r"\b(?:keep|stay|steer|hands)\b.* (?:off|away from|clear of) \[item\]"
    r"|\b(?:leave|let|keep) (?:\[item\]|it|that|this|them) (?:all )?(?:alone|be(?!hind)|as it is"
    r"|where (?:it|that|this) (?:is|stands|lies|sits|was)|in (?:peace|place)|untouched)\b"
)
_ASKS = re.compile(
    r"(?:what|which|where|why|who|whose|whom|when|how|is|are|was|were|did|does|has|had|am|isn"
    r"|aren"
    r"|(?:should|shall) (?:it|there|\[item\])"
    r"|do (?:you|i|we|they|the)|have (?:you|i|we|they)|should (?:i|we|he|she|they)|shall (?:i|we)"
    r"|(?:can|could|may|must|will|would|did) (?:i|he|she|they|it|we|\[item\])"
    r"|(?:can|could|do|did|will) you (?:see|hear|tell|know|remember|think|love|want|reach"
    r"|understand|feel|really|even)(?! me)"
    r"|do you like"
    r")(?!\S)"
)
_CONDITION = re.compile(
    r"(?:^|.* )(?:(?:until|till)(?! you | \[item\] is"
    r"| \[item\](?: please| now| there)*$)|if|unless|whenever|in case|as soon as|otherwise|or else"
    r"|provided that|assuming|supposing"
    r"|(?<!a )while"
    r"|every time|each time)(?!\S)"
    r"|(?:^|.* )should (?:anyone|anybody|someone|somebody|anything|something)(?!\S)"
    r"|(?:^|.* )once \[item\] (?:is|gets|looks) (?:all )?(?:empty|full|clean|dirty|dry|wet|cold"
    r"|cool|hot|warm|ready|free|gone|safe|visible)(?!\S)"
)
_LATER = re.compile(
    r"(?:^|.* )(?:when|tomorrow|yesterday|tonight|later|soon|(?:next|last|this|every) (?:week"
    r"|day|year"
    r"|time|hour|monday|morning|evening)|(?:one|some) day|at noon|at midnight|on (?:mon|tues"
    r"|wednes"
    r"|thurs|fri|satur|sun)day|at (?:\[number\]|[a-z]+) o clock|in (?:\[number\]|an|a|[a-z]+)"
    r" (?:minutes?|seconds?|hours?|days?|weeks?)|(?:\[number\]|two|three|four|five|ten"
    r"|many) times"
    r"|twice|forever|for ever|all day|again and again)(?!\S)"
)
_WISH = (
    r"want|need|would|should|do want|am asking|require|order|command|say|expect|wish|insist|beg"
    r"|could use|fancy|desire|crave"
    r"|suggest|ask|urge|instruct|advise|am telling|prefer|demand|request|am ordering|think"
    r"|have got to ask|could do with|could really|really|just"
)
# "people drive on the left", "one must go forward in life"
_OTHERS = (
    r"(?:most |all |some )?(?:people|folks?|drivers|motorists|cars|trams|cyclists|pedestrians"
    r"|robots|ships|dogs|machines|one)(?= (?:really |always |usually |simply |never )?(?:ought|must"
    r"|should|tend|has to|have to|needs?|drives?|keeps?|walks?|rides?|turns?|goes|can)(?!\S))"
)
_REPORT = re.compile(
    rf"(?:i (?!(?:{_WISH})(?!\S)|will have (?:\[item\]|it|that)(?!\S))"
    r"|i (?:want|need|would like|would love|would prefer|wish|have) to"
    r"(?! (?:see|have|get|ask|request|look at|hold|say)\b)|(?:let|allow|watch) me(?! (?:see"
    r"|have|look))"
    r"|it is (?!time|\[item\]|enough|that|urgent)|(?:he|she|they|someone|somebody|everyone"
    r"|everybody"
    rf"|people)(?!\S)|{_OTHERS}"
    r"|(?:it|that|this) (?:was|were|did|has|had|looks|seems|can|will|might|goes|went)(?!\S)"
    r"|we (?!need|want|should|must|have to|could|can|are going|would)"
    r"|(?:the|my|our|some|a) (?!robot )[a-z]+ (?:has|have|had)(?: just| already)? [a-z]+(?!\S)"
    r"|you are (?!to |required|needed|wanted|expected)"
    r"|you (?:just |already )?(?:turned|went|grabbed|pushed|drove"
    r"|stopped|did|were|had|took|moved|backed|opened"
    r"|closed|dropped"
    r"|looked|faced|got|hit|made|said|told|never|always|seem|look(?:ed)? (?:nice|good|tired"
    r"|great|funny))(?!\S))"
)
_INDIRECTLY = re.compile(
    r"\b(?:i|we) (?:ask|wonder|know)(?: you)? (?:why|what|where|who|how|when|which|whether)(?!\S)"
)
_TAKES_BACK = re.compile(
    r"\bchanged (?:my|our) minds?\b"
    r"|\b(?:i|we) (?:am|was|were|are) (?:only |just )?(?:joking|kidding)"
    r"|\bjust kidding\b"
)
# "stay where you are while I mop": the robot stands still, whatever the rest says
_WHILE = re.compile(
    r"(?:while|whilst|until|till|as long as) (?:i|we|he|she|they|my|our|the|this|that|someone"
    r"|somebody|everyone|people|further)(?!\S)"
)
# what a speaker says of himself or the world, at the start of a clause
_TELLS = re.compile(
    r"(?:(?:because|cause|cos|since|as|so that|so|for|and) )?"
    r"(?:(?:i|we) (?:need|want) to|(?:i|we) (?:need|want|have|could use)(?: \w+){0,2} (?:space|room"
    r"|counter|table|floor|light|air|spot|corner|desk|shelf|bench|chair|bed|kitchen|sink|stove"
    r"|door|way|hand|break|rest|minute|moment)|(?:i|we|he|she|they)(?! (?:need|want)(?!\S))"
    r"|let me(?! (?:see|have|get|hold) \[item\])|(?:you|we) are (?:about to|going to|in|too|on)"
    r"|it is|that is|this is|there is|there are|here comes|(?:my|our|his|her) \w+"
    r"|(?:the|this|that|my|our) \w+(?:'s| is| are| was| has| said| says| told| needs| wants| waits)"
    r"|\w+ (?:is|are|needs|wants|says|said|insists))(?!\S)"
)
_PART_OF_THE_WAY = re.compile(
    r"\b(?:half ?way(?! (?:round|around))|part ?way|(?:part|half|most|some) of the way|partly"
    r"|partially)\b"
)
_LIKENED = re.compile(r"(?:just )?(?:like|as) (?:my|the|your|our|a|an|i|we|he|she|they|in)(?!\S)")
# what changes the meaning of the words before it, or may
_CHANGES = frozenset(
    ("unless", "if", "but", "only", "except", "without", "until", "till", "instead", "rather")
)
_CHANGES |= frozenset(
    ("wrong", "mistake", "mistaken", "changed", "mind", "cancel", "cancelled", "joking", "lied")
)
_CHANGES |= frozenset(("never", "not", "no", "nothing", "kidding", "dangerous", "danger"))
_CHANGES |= frozenset(("blocked", "broken", "you", "please", "twice", "times", "again", "more"))
_CHANGES |= frozenset(("less", "half", "further", "far", "other", "another", "opposite"))
_CHANGES |= frozenset(("back", "forward", "left", "right"))

NEGATED = "say what not to do; say what to do"
ASKED = "are a question, and this robot answers none; say what to do"
CONDITIONAL = "depend on something that the robot does not wait for; say what to do now"
PARTLY = "ask for a part of the way, which nobody measures; say how far, or all of it"
TAKEN_BACK = "take back what was said; say what to do"
REPORTED = "tell something and ask for nothing; say what to do"


def tells(parts: Sequence[Part]) -> bool:
    """Whether the words give a reason or a comment, as "it is hot" does."""
    text = _spoken(parts)
    return _TELLS.match(text) is not None or _LIKENED.match(text) is not None


def only_tells(parts: Sequence[Part]) -> bool:
    """Whether they do, and certainly change nothing of what was asked for before."""
    text = re.sub(r"\bbe (?:right )?back\b", "return", _spoken(parts))
    return tells(parts) and "[" not in text and _CHANGES.isdisjoint(text.split())


def is_hypothetical(parts: Sequence[Part]) -> bool:
    """Whether they say when something may happen: "if it rains"."""
    words = {part.text for part in parts}
    return not words.isdisjoint(("if", "when", "whenever", "unless", "once", "case", "soon"))


def _spoken(parts: Sequence[Part]) -> str:
    """The words and marks, without signs."""
    return " ".join(part.text for part in parts if part.text[0].isalnum() or part.text[0] == "[")


def waits_for_someone(parts: Sequence[Part]) -> bool:
    """Whether the only condition is how long to stand still: "stay there until I am done"."""
    text = " ".join(part.text for part in parts)
    match = _WHILE.search(text)
    return match is not None and not _CONDITION.match(text[: match.start()])


def objection(parts: Sequence[Part], robot: RobotWords[Any]) -> str | None:
    """Why the words are certainly no instruction to the robot, or None.

    Words that keep the robot still are no objection: "do not move".
    """
    text = " ".join(part.text for part in parts)
    text = " ".join(re.sub(r"[^\w\[\] ]", " ", text).split())
    # first courtesy: "why don't you move on" is none that stands still
    plain = " ".join(_COURTESY.sub(" ", text).split())
    plain = " ".join(_STANDSTILL.sub(" ", plain).split())
    words = plain.split()
    if _INDIRECTLY.search(text):
        return ASKED
    if robot.cannot.match(plain):
        return robot.cannot_problem
    if _TAKES_BACK.search(plain):
        return TAKEN_BACK
    if _PART_OF_THE_WAY.search(plain):
        return PARTLY
    if NEGATIONS & set(words) or _KEEP_OFF.search(plain):
        return NEGATED
    # "please", "robot" and the like may come before a question
    asked = re.sub(r"^(?:(?:please|robot|hey|so|well|and|but|ok|okay|now|hi|hello) )+", "", plain)
    if _ASKS.match(asked):
        return ASKED
    if _CONDITION.match(plain) or _LATER.match(plain):
        return CONDITIONAL
    if _REPORT.match(f"{asked} "):
        return REPORTED
    return None
