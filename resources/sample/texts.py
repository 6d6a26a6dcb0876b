"""The sentences of the embedded sample: people's jobs, hobbies, ordinary events and voices, to be combined by `write_sample.py`.

All of it was written for this project; no sentence comes from a real person or data set. Slots in braces are a persona's own:
{town}, {partner}, {family}, {friend}, {pet}, {job}, {hobby}.
"""

# job, a lesson from it, and three things that happened there: (title, what happened, how it came out)
JOBS = [
    (
        "night nurse",
        "nights on the ward taught me that people mostly want someone to sit down for two minutes",
        [
            (
                "A patient remembered my name",
                "An old gentleman on my ward, who usually forgets what day it is, greeted me by name at the start of the night shift and asked whether my feet still hurt.",
                "I sat with him until the tea was cold and my round started ten minutes late.",
            ),
            (
                "I fell asleep on the bus after my shift",
                "After the third night in a row I fell asleep on the bus and woke up at the depot, two villages past {town}, with the driver tapping my shoulder.",
                "He drove me back on his way home and would not take a coin for it.",
            ),
            (
                "The new trainee cried in the linen room",
                "Our trainee hid in the linen room after her first difficult night, and I found her counting pillowcases so that she would not have to think.",
                "We counted the rest together, and she came back for the next shift.",
            ),
        ],
    ),
    (
        "bus driver",
        "driving a bus taught me that being three minutes late is not worth a heart attack",
        [
            (
                "A passenger left a birthday cake on my bus",
                "Somebody left a whole birthday cake on the back seat of the 14, candles and all, and I drove two loops with it strapped in beside me.",
                "At the terminal a boy of about nine was waiting with his grandfather, and both looked ready to hug the bus.",
            ),
            (
                "They changed my route after eight years",
                "The company gave my old route through {town} to somebody else and put me on the ring road, where nobody says good morning to the driver.",
                "A retired teacher from the old line now takes a detour twice a week just to say hello.",
            ),
            (
                "I waited for someone and got shouted at",
                "I held the bus for twenty seconds because a woman was running with a pram, and a man in a suit shouted at me for the next six stops.",
                "The woman said thank you so quietly that only I heard it, and that was enough.",
            ),
        ],
    ),
    (
        "school librarian",
        "a library taught me that the quiet kids are usually the ones who need a question",
        [
            (
                "A boy returned a book after two years",
                "A boy who is about to leave our school returned a book that had been missing for two years, with a note inside about why he had kept it.",
                "I waived the fine and asked him to choose three books for the new shelf.",
            ),
            (
                "I had to throw books away",
                "I had to sort out forty boxes of old books because the shelves are being moved, and I kept stopping to read the names on the cards.",
                "In the end {friend} took two boxes home and the rest went to the market hall.",
            ),
            (
                "The reading club had one member",
                "I started a reading club on Thursdays and for three weeks exactly one girl came, so we read aloud to each other and ate all the biscuits.",
                "This week she brought four friends, and I ran out of chairs.",
            ),
        ],
    ),
    (
        "carpenter",
        "carpentry taught me that measuring twice is cheaper than apologising once",
        [
            (
                "I built the stairs two centimetres too short",
                "I built a staircase for a couple in {town} and noticed on the last day that I had read the plan wrong and the top step was two centimetres short.",
                "I told them before they saw it, took it out, and paid for the wood myself.",
            ),
            (
                "My apprentice is better than I was",
                "My apprentice made his first dovetail joint this week and it closed without a gap, which took me about two years to learn.",
                "I hung it on the wall of the shop and pretended that I needed it as a pattern.",
            ),
            (
                "A customer wanted her father's table saved",
                "A woman brought a table that had stood in a wet cellar for ten years and asked me to save it because her father had done his homework on it.",
                "I left his ink stains in the top and only mended the legs, and she cried when she saw them.",
            ),
        ],
    ),
    (
        "call centre agent",
        "answering phones taught me that anger usually stands in for something else",
        [
            (
                "A caller apologised to me",
                "A man who had shouted at me on Monday about his phone bill called again today, waited forty minutes in the queue, and asked for me to say sorry.",
                "His mother had been in hospital that day, and we ended up talking about soup recipes.",
            ),
            (
                "My headset broke at the best moment",
                "My headset died in the middle of the busiest hour, and for twelve minutes I could hear how loud our office in {town} really is.",
                "I asked for a desk by the window after that and, to my surprise, I got it.",
            ),
            (
                "I was told to sound happier",
                "My supervisor played me one of my own calls and said that I had solved everything correctly but that I should smile more with my voice.",
                "I tried it on the next caller, who asked me if I was feeling all right.",
            ),
        ],
    ),
    (
        "baker",
        "baking at four in the morning taught me that most days get better after the first tray",
        [
            (
                "I forgot the salt in two hundred rolls",
                "I forgot the salt in the morning batch and only noticed when the first customer came back with a very thoughtful face.",
                "We gave them away with butter and a salt shaker, and people stayed to talk.",
            ),
            (
                "The old oven finally gave up",
                "The oven that my boss bought before I was born stopped at five in the morning with forty loaves inside, and the whole street in {town} smelled of it.",
                "The pizza place opposite lent us theirs, and now we take them bread every Friday.",
            ),
            (
                "A child comes to count the loaves",
                "A little girl stops at our window every morning before school to count the loaves on the shelf, and today she told me that one was missing.",
                "She was right, it was in the back, and she now has an official job and a badge.",
            ),
        ],
    ),
    (
        "software tester",
        "testing taught me that the thing nobody wants to click is the thing that is broken",
        [
            (
                "I stopped a release on a Friday",
                "I found a mistake an hour before the release that would have sent every customer the invoice of somebody else, and I had to say so in a very full meeting.",
                "Nobody thanked me on Friday, but on Monday my manager brought me a coffee without a word.",
            ),
            (
                "Working from home made me strange",
                "I have worked from my kitchen in {town} for a year now, and this week I caught myself saying goodbye to the kettle when I went to bed.",
                "I signed up for a desk in a shared office two days a week, mostly for the small talk.",
            ),
            (
                "My replacement sat beside me",
                "My team asked me to show everything I do to a new colleague, and it took me three days to dare to ask whether I was being replaced.",
                "I was being promoted, and they had thought that somebody had told me.",
            ),
        ],
    ),
    (
        "primary school teacher",
        "teaching taught me that children forgive you at once if you admit the mistake",
        [
            (
                "I lost my voice and they were angels",
                "I lost my voice overnight, so I taught a whole day with a whistle and a blackboard, and my class whispered along as if it were a game.",
                "At the end of the day they had written me a card with all the words I could not say.",
            ),
            (
                "A parent evening that went wrong",
                "A father told me in front of everybody that his daughter learns nothing with me, and I stood there with the chalk in my hand and no answer.",
                "His daughter corrected him on a date the week after, and he came to shake my hand.",
            ),
            (
                "The class hamster had a secret",
                "We had one hamster on Friday and seven on Monday, and I had to explain a great deal of biology before the first break.",
                "Six families in {town} now have a hamster, and I have a form for such cases.",
            ),
        ],
    ),
    (
        "taxi driver",
        "taxi work taught me that people tell the truth to the back of a head",
        [
            (
                "A passenger asked me to drive slower",
                "A woman on the way to the airport asked me to take the long way, because she was leaving {town} for good and wanted to see the river once more.",
                "I switched the meter off at the bridge, and we stood there for five minutes.",
            ),
            (
                "I found a wedding ring under the seat",
                "While cleaning the car I found a wedding ring under the back seat, and I had driven thirty-one people that day.",
                "I called every number I had, and the twenty-sixth man answered before it had rung once.",
            ),
            (
                "The app wants me to be faster",
                "The new app gives me a red mark whenever I wait more than two minutes, so I got one for helping an old man up his stairs.",
                "I turned the sound off and helped the next one as well.",
            ),
        ],
    ),
    (
        "gardener for the town",
        "gardening for a town taught me that people only notice what is missing",
        [
            (
                "Somebody stole the tulips and wrote a letter",
                "Somebody dug out a whole bed of tulips behind the town hall and left a letter that said they were for a grave and that they were sorry.",
                "I planted new ones, and put a handful of spare bulbs on the bench beside them.",
            ),
            (
                "I had to cut down my favourite tree",
                "I had to cut down the old chestnut on the square in {town}, under which I ate my lunch for eleven years, because it was hollow to the crown.",
                "A carpenter made a bench from it, and I still eat my lunch in the same place.",
            ),
            (
                "A school class planted everything upside down",
                "Thirty children helped me to plant bulbs, and on the way home I understood that nobody had told them which end goes up.",
                "They came up anyway, a bit later and a bit crooked, and I like them better.",
            ),
        ],
    ),
    (
        "accountant",
        "accounting taught me that small errors are only frightening while they are hidden",
        [
            (
                "A shoebox full of receipts",
                "A client brought three years of receipts in a shoebox, some of them with jam on them, and sat down opposite me as if waiting for a verdict.",
                "It took four evenings, he gets money back, and he brought me a jar of the jam.",
            ),
            (
                "I made the mistake this time",
                "After fifteen years I transposed two numbers in a tax return, and I noticed it at three in the morning without even being near my desk.",
                "I called the client at eight, and she laughed and said that she was relieved that I was human.",
            ),
            (
                "They moved our office to the ring road",
                "Our office left the old house in the middle of {town} for a glass box at the ring road, where the windows do not open and lunch comes from a machine.",
                "{friend} and I now eat sandwiches in my car and call it the terrace.",
            ),
        ],
    ),
    (
        "veterinary assistant",
        "the vet's practice taught me that waiting rooms are easier with a dog in them",
        [
            (
                "A cat that everybody knew",
                "An old cat was brought in as a stray, and within an hour four families from {town} had called, each of them with a different name for her.",
                "She now has a collar with four telephone numbers and an excellent life.",
            ),
            (
                "I had to hold the dog this time",
                "A man could not bear to be in the room for his dog's last minutes, so I held her head and told her about the weather and the squirrels outside.",
                "He wrote to us a month later that it helped him to know that somebody had talked to her.",
            ),
            (
                "The parrot repeated everything",
                "A parrot stayed with us for three days after an operation and learned what the vet says when she drops something.",
                "The owner asked us politely, and then less politely, who had taught him that.",
            ),
        ],
    ),
    (
        "warehouse worker",
        "the warehouse taught me that a good mood is mostly a matter of who you lift with",
        [
            (
                "My scanner thinks that I am slow",
                "The scanner showed me today that I was four per cent slower than last week, on the day on which I had trained two new people.",
                "My shift leader crossed the number out with a pen in front of everybody.",
            ),
            (
                "A package with my own name on it",
                "In the middle of the night shift a package with my own address came down the belt, and it took me a moment to understand that it was from {partner}.",
                "It was a pair of warm gloves, because I had complained about the gate by the ramp.",
            ),
            (
                "We carried a piano by hand",
                "The lift was broken, so five of us carried a piano up to the second floor, and the oldest of us, who never talks, played something at the top.",
                "Nobody said a word on the way down, and we were ten minutes over our break.",
            ),
        ],
    ),
    (
        "hairdresser",
        "cutting hair taught me to ask a question and then to keep quiet",
        [
            (
                "She asked me to cut it all off",
                "A customer whom I have known for six years asked me to cut off all her hair before the treatment takes it, and she wanted to laugh while I did it.",
                "We put on terrible music and laughed, and I cried only when the door had closed.",
            ),
            (
                "A man fell asleep in my chair",
                "A young father fell asleep while I washed his hair, and I did not have the heart to wake him, so I moved the next two appointments.",
                "He woke up after forty minutes and said that it was the best sleep since March.",
            ),
            (
                "I cut my own mother's fringe",
                "My mother finally came to my salon in {town} for the first time, sat down, and explained to me for ten minutes how to hold the scissors.",
                "She left a tip, which I have framed beside the mirror.",
            ),
        ],
    ),
]

# hobby, a lesson from it, and two things that happened: (title, what happened, how it came out)
HOBBIES = [
    (
        "choir singing",
        "in the choir I learned that you hear your own mistake much louder than anybody else does",
        [
            (
                "I came in one bar too early",
                "At our concert in the church I came in one bar too early, alone, in front of two hundred people, on the word silence of all things.",
                "The conductor grinned, the audience laughed, and the second try was our best ever.",
            ),
            (
                "We sang at the care home",
                "Our choir sang at the care home, and a woman who had not spoken for weeks sang all the verses of the second song.",
                "Her son recorded it and asked us to come back before Christmas.",
            ),
        ],
    ),
    (
        "long-distance running",
        "running long distances taught me that the bad kilometre ends too",
        [
            (
                "I walked the last three kilometres",
                "I trained five months for the half marathon, and at kilometre eighteen my knee decided that we were walking, so I walked while the sweeping car drove behind me.",
                "{family} waited at the finish with the thermos, long after the band had gone home.",
            ),
            (
                "A stranger ran with me in the rain",
                "In the pouring rain a stranger caught up with me on the canal path, said that misery needs company, and ran eight kilometres beside me.",
                "We never said our names, but now we nod to each other every Sunday.",
            ),
        ],
    ),
    (
        "keeping bees",
        "keeping bees taught me to move slowly when I am nervous",
        [
            (
                "My bees moved to the neighbour's chimney",
                "One of my colonies swarmed on Saturday and settled in the neighbour's chimney, two hours before his barbecue.",
                "He helped me to get them down with a broom, and he now has honey for a year.",
            ),
            (
                "I lost a whole colony",
                "I opened the hive after the winter and it was silent, and I stood there in the garden with the lid in my hands and felt as if I had forgotten a birthday.",
                "An old beekeeper from {town} gave me a swarm and a long list of what to do in autumn.",
            ),
        ],
    ),
    (
        "chess at the club",
        "chess taught me that the move you are proud of deserves a second look",
        [
            (
                "I was beaten by a nine-year-old",
                "In the first round of the club tournament I was beaten in twenty-two moves by a nine-year-old who was swinging her legs under the table.",
                "She showed me where I went wrong, and I have written it on a card.",
            ),
            (
                "Our oldest player stopped coming",
                "The old man who taught half of our club stopped coming in autumn, so I took a board and a bag of pears and went to his flat.",
                "We play on Tuesdays at his kitchen table now, and he still wins.",
            ),
        ],
    ),
    (
        "restoring old radios",
        "old radios taught me to look at the simple cable first",
        [
            (
                "The radio from the flea market plays again",
                "After six weekends the radio from the flea market made a sound, and the first thing that came out was the weather for sailors.",
                "{partner} danced to the wind forces with me in the cellar.",
            ),
            (
                "I got a small electric shock and a lecture",
                "I was too impatient to pull the plug and got a shock that threw the screwdriver across the room and made {pet} hide for an hour.",
                "{partner} gave me a lecture, and there is now a red switch on the bench.",
            ),
        ],
    ),
    (
        "growing vegetables on an allotment",
        "the allotment taught me that you can do it right and still have slugs",
        [
            (
                "The slugs ate everything in one night",
                "I planted sixty lettuces on Saturday, and on Sunday there were sixty small stalks and a very satisfied silence.",
                "My neighbour on the allotment gave me twenty of hers and did not say that she had told me so.",
            ),
            (
                "A pumpkin that nobody planted",
                "A pumpkin that nobody planted has taken over my compost, climbed the fence, and is now resting on the bench like an uncle after lunch.",
                "We are going to weigh it at the harvest fair in {town}.",
            ),
        ],
    ),
    (
        "amateur theatre",
        "on the stage I learned that a pause is only terrible from the inside",
        [
            (
                "I forgot my only long speech",
                "On the opening night I forgot my only long speech and heard nothing but the heating, until the policeman in the play gave me my own words as a question.",
                "The newspaper praised the tension of the interrogation.",
            ),
            (
                "I got the part that I did not want",
                "I hoped for the young hero and got the grandmother, with a wig and a shawl, because somebody has to and I have the voice for it.",
                "It is the best part I ever had, and {family} laughed until the bench shook.",
            ),
        ],
    ),
    (
        "open-water swimming",
        "cold water taught me to count to thirty before I decide anything",
        [
            (
                "I swam in the lake in December",
                "I went into the lake in December with four other people in silly hats, and for the first ten seconds I forgot all the words I know.",
                "Afterwards I felt as if somebody had cleaned my windows from inside.",
            ),
            (
                "The current was stronger than I was",
                "I overestimated myself, and the current took me past the steps and round the bend, where I held on to a fisherman's boat like a wet dog.",
                "He rowed me back and made me promise to wear an orange buoy, and I do.",
            ),
        ],
    ),
    (
        "quilting",
        "quilting taught me that a crooked row disappears when the whole thing lies on a bed",
        [
            (
                "A quilt from my grandfather's shirts",
                "I cut up my grandfather's shirts for a quilt, and at the first cut I had to put the scissors down and walk around the block.",
                "It is finished now, and {family} has not let go of it since Sunday.",
            ),
            (
                "I sewed my sleeve into the quilt",
                "I was so deep in thought last night that I sewed the sleeve of my own cardigan into the edge of a quilt and only noticed when I got up for tea.",
                "{friend} took a photograph before she helped me out of it.",
            ),
        ],
    ),
    (
        "birdwatching",
        "birdwatching taught me to stand still when I want to run",
        [
            (
                "I got up at four for a bird that was not there",
                "I got up at four, drove to the marsh, and waited three hours for a rare heron, while everybody else saw it at the pond behind the supermarket.",
                "I saw a fox with two cubs instead, and I was the only one.",
            ),
            (
                "A boy knew more than I did",
                "A boy of twelve stood beside me in the hide and corrected my list three times, politely, without taking his eyes off the reeds.",
                "I lent him my good binoculars, and he found us a bittern.",
            ),
        ],
    ),
    (
        "baking sourdough at home",
        "sourdough taught me that patience is mostly leaving things alone",
        [
            (
                "I killed my starter after four years",
                "I put my starter into the oven to keep it warm, forgot it, and preheated the oven for pizza, which ended a friendship of four years.",
                "{friend} had kept a jar of it in her fridge, so it came home.",
            ),
            (
                "The loaf that everybody wanted",
                "I took a loaf to the street party in {town}, and it was gone before I had found a knife, while the bought one beside it stood there all evening.",
                "Three neighbours are coming on Saturday to learn how to fold the dough.",
            ),
        ],
    ),
    (
        "playing in a brass band",
        "the brass band taught me that you can be out of tune together and it is fine",
        [
            (
                "My valve stuck in the middle of the parade",
                "In the middle of the parade a valve of my cornet got stuck, and I could play exactly three notes for the whole main street.",
                "I played those three with great conviction, and a man saluted.",
            ),
            (
                "I had to play at a funeral",
                "I played at the funeral of our old bandmaster and had been afraid for a week that my lip would tremble in the high part.",
                "It did tremble, and his daughter said afterwards that this was the part she liked.",
            ),
        ],
    ),
    (
        "cycling tours",
        "cycle touring taught me that the wind is nobody's fault",
        [
            (
                "Three flat tyres in one afternoon",
                "I had three flat tyres in one afternoon, the last of them in the rain in front of a farm with a very interested goose.",
                "The farmer's wife gave me soup, and her son had the right pump.",
            ),
            (
                "I rode to the sea on my own",
                "I rode to the sea alone in four days, without a plan except the river, and I spoke aloud to my bicycle from the second day on.",
                "When I saw the water I sat down on a bollard and called {family}.",
            ),
        ],
    ),
    (
        "pottery",
        "pottery taught me not to fall in love with a bowl before it is out of the kiln",
        [
            (
                "The kiln cracked everything",
                "Thirty pieces were in the kiln for the Christmas market, and a single air bubble in somebody's vase turned them into gravel.",
                "We made a mosaic for the wall of the workshop, and it is nicer than my bowls were.",
            ),
            (
                "I sold a bowl for the first time",
                "A stranger at the market in {town} picked up my blue bowl, turned it round twice, and paid without haggling, and I nearly told her about the flaw.",
                "I bought {partner} a large ice cream with the money.",
            ),
        ],
    ),
]

# Ordinary events: (title, what happened, how it came out)
EVENTS = [
    (
        "My neighbour and the drill",
        "My neighbour has been drilling at seven every Saturday for two months, and this week I finally rang his bell with my speech prepared.",
        "He was building a ramp for his mother, and I went home and came back with my own drill.",
    ),
    (
        "I forgot an important birthday",
        "I forgot the birthday of {family} for the first time in my life and noticed it the next evening, when the calendar was already turned over.",
        "I drove over with a cake from the petrol station, and we ate it with two forks on the stairs.",
    ),
    (
        "I said no for the first time",
        "{friend} asked me to help with a move for the third time this year, and I heard myself say no before I had thought of a reason.",
        "There was a silence, then a laugh, and we are going out for dinner instead.",
    ),
    (
        "We almost moved away",
        "We looked at a flat in the city, bigger and brighter than ours, and {partner} and I walked through it without saying anything.",
        "On the way back to {town} we both said at the same moment that we wanted to stay.",
    ),
    (
        "The wallet in the snow",
        "I found a wallet in the snow with a lot of cash and an old photograph in it, and for one minute I was a worse person than I thought.",
        "The owner came to my door within the hour and showed me who was in the photograph.",
    ),
    (
        "{pet} ran away for a night",
        "The garden gate was open, and {pet} was gone, so {partner} and I walked through {town} until two in the morning with a torch and a bag of treats.",
        "At breakfast there was a scratching at the door and a very muddy face.",
    ),
    (
        "My first dinner party in years",
        "I invited six people to dinner, burned the main course, and stood in the smoke in the kitchen while they talked in the next room.",
        "{friend} came in, opened the window, and made pancakes as if that had been the plan.",
    ),
    (
        "A letter I never expected",
        "A letter came from a school friend with whom I fell out twenty years ago over something that neither of us can explain any more.",
        "I wrote back on Sunday, four pages, and walked to the box in my slippers.",
    ),
    (
        "The doctor told me to slow down",
        "At the check-up the doctor looked at my numbers, then at me, and asked when I had last done nothing for a whole afternoon.",
        "I sat in the garden for an afternoon, and it was much harder than I expected.",
    ),
    (
        "I got lost with {family}",
        "I took {family} for a walk in the forest, was sure of the way, and two hours later we stood in front of the same fallen tree for the third time.",
        "A girl on a pony led us out and did not laugh until we were at the road.",
    ),
    (
        "The heating failed on the coldest day",
        "The heating failed on the coldest weekend of the year, and {partner} and I put the mattress beside the stove and all our coats on top.",
        "We played cards until midnight, and I was almost sorry when the mechanic came.",
    ),
    (
        "I finally apologised",
        "I had been short with {friend} weeks ago and kept telling myself that it was nothing, until I noticed that I took another way home to avoid the street.",
        "I rang the bell and said it in one breath, and was given coffee before I had finished.",
    ),
]

# How somebody talks: feelings, reasons, closings, questions, openings of comments, verdicts of reviews (good, poor)
VOICES = {
    "worrier": {
        "feelings": [
            "My heart was beating up to my ears, and I kept checking my phone for no reason at all.",
            "I could not eat the whole evening, and I went over every sentence again in bed.",
            "I felt hot and foolish, and I was sure that everybody could see it.",
            "I was so nervous that I laughed in the wrong place, and then I worried about the laugh.",
            "I had a knot in my stomach, the same that I used to have before exams.",
            "I lay awake and counted all the ways in which it could have gone worse.",
        ],
        "reasons": [
            "I think that it hits me so hard because I am always afraid of being a burden to somebody.",
            "At home a mistake was a big thing when I was small, so I still wait for the shouting.",
            "I plan everything so that nothing can surprise me, and then something does.",
            "It matters to me more than I admit, and that is why I was shaking.",
            "I never learned to ask for help early, so I always ask when it is late.",
        ],
        "closings": [
            "Maybe I should trust people a little more than I do.",
            "Next time I want to breathe first and imagine the worst later.",
            "I am writing it down so that I remember that it ended well.",
            "I slept well that night, which says more than I could explain.",
            "I know that I will worry again tomorrow, but today I do not.",
        ],
        "questions": [
            "Am I the only one who worries like this?",
            "How do you stop thinking about such things at night?",
            "Would you have said something earlier?",
            "Is it normal that it stays with me for so long?",
        ],
        "leads": [
            "I hope this does not sound wrong, but I know that feeling very well.",
            "Reading this made me nervous on your behalf, and then relieved.",
            "I would have lain awake over it too, so please do not be hard on yourself.",
            "Sorry for the long answer, this one touched something in me.",
        ],
        "good": [
            "I had worried for nothing, it does its job.",
            "I checked it three times, and it is really fine.",
            "I sleep better for it, silly as that sounds.",
        ],
        "poor": [
            "I keep waiting for it to break.",
            "I am not sure that it will last, and that bothers me.",
            "I wrote to the seller twice and felt bad about it.",
        ],
    },
    "cheerful": {
        "feelings": [
            "I laughed so hard that I had to sit down, honestly, what else can you do!",
            "I was happy like a child, and I told everybody, also people who had not asked!",
            "For a moment I was cross, and then it was already funny!",
            "I got goosebumps, the good kind, and I still have them when I tell it!",
            "I was so proud that I walked home the long way!",
            "I could have kissed the whole street!",
        ],
        "reasons": [
            "I am somebody who needs people around me, and this was exactly that!",
            "My grandmother always said that a good story is worth a bad hour, and she was right!",
            "I love it when strangers turn out to be nice, it happens more often than you think!",
            "It had been a grey week, so I needed it like rain!",
            "I always try to see what is good in it, because the rest comes by itself!",
        ],
        "closings": [
            "I would do it all again tomorrow!",
            "Days like this are the reason why I like it here!",
            "Now I owe somebody a cake, and I cannot wait!",
            "Try it yourself, you will not regret it!",
            "That is going to be told at every party from now on!",
        ],
        "questions": [
            "What was the nicest thing that happened to you this week?",
            "Who else has a story like that? Tell me!",
            "Would you have done the same? I hope so!",
            "Isn't it wonderful how such things turn out?",
        ],
        "leads": [
            "Oh, I love this story, thank you for sharing it!",
            "This made my whole morning, I read it aloud at breakfast!",
            "You did great, and you should tell yourself so in the mirror!",
            "Ha, something like that could only happen to me too!",
        ],
        "good": [
            "I am so happy with it, I bought a second one as a present!",
            "It makes me smile every single day!",
            "Five stars, and six if I could!",
        ],
        "poor": [
            "Well, you cannot win every time!",
            "It made us laugh at least, which is something!",
            "I still like the colour, so that is that!",
        ],
    },
    "dry": {
        "feelings": [
            "I was not amused. Nobody had asked me, of course.",
            "I said nothing, which is what I do best.",
            "It annoyed me. Then it annoyed me that it annoyed me.",
            "I felt about as useful as an umbrella in a submarine.",
            "I stood there like a wardrobe. A moved wardrobe, but a wardrobe.",
            "I have had better hours. I have also had worse ones, at the tax office.",
        ],
        "reasons": [
            "I do not like surprises. They come without a receipt.",
            "In my family we show affection by repairing things. Talking is for emergencies.",
            "I like an order in things. Life has not read my list.",
            "I expected little. It is a method, and it works.",
            "People mean well. That is usually how it starts.",
        ],
        "closings": [
            "I will not call it a lesson. But I took notes.",
            "It could have been worse. It generally can.",
            "I am told that I smiled. There are no witnesses.",
            "So that was that. The coffee was good.",
            "I have filed it under things that went right by accident.",
        ],
        "questions": [
            "Is there a polite word for that?",
            "Does this happen to other people, or is it me?",
            "What would a sensible person have done?",
            "Anybody else, or shall I go back to bed?",
        ],
        "leads": [
            "I rarely comment. This is an exception.",
            "Good. Somebody had to say it.",
            "It sounds exhausting. Well handled, though.",
            "I have been there. The view is not worth it.",
        ],
        "good": [
            "It works. I have nothing to complain about, which is unusual.",
            "No drama. I recommend it.",
            "It does one thing, and does it. More than I can say of most of us.",
        ],
        "poor": [
            "I have seen sturdier biscuits.",
            "It is an object. That is the best I can say.",
            "It now holds the door open. That it does well.",
        ],
    },
    "thoughtful": {
        "feelings": [
            "I became very quiet, and it took me a while to find the word for it: grateful.",
            "It was a strange mixture of shame and relief, as if I had put down a heavy bag.",
            "I noticed that my hands had become calm before my head did.",
            "Something in me softened that I had held tight for a long time.",
            "I felt older and, oddly, lighter at the same time.",
            "I was sad in a way that did not hurt, like the end of a summer.",
        ],
        "reasons": [
            "Perhaps it moved me because I know how it is when nobody takes the time.",
            "I have come to believe that people show what they need long before they say it.",
            "When I was younger I would have looked away, and I know exactly why.",
            "I suppose that we carry the houses we grew up in with us, and mine was a silent one.",
            "It has to do with my father, I think, who never came back to a thing once it was said.",
        ],
        "closings": [
            "I want to remember how simple it was in the end.",
            "I keep thinking that the small gestures are the ones that hold us together.",
            "I do not know yet what it means, but I know that it means something.",
            "I have decided to be the first to speak next time.",
            "It is quiet here now, and I am glad to have written it down.",
        ],
        "questions": [
            "What has helped you to forgive a small thing?",
            "When did you last change your mind about somebody?",
            "Do you also need days to understand what you felt?",
            "What would you tell your younger self about it?",
        ],
        "leads": [
            "Thank you for writing this so openly, I have read it twice.",
            "What stays with me is how gently you describe the other person.",
            "I think that there is something important under this story.",
            "I recognised myself in this, more than I expected.",
        ],
        "good": [
            "It has quietly become part of my mornings.",
            "I value things that are made with care, and this is one.",
            "I did not expect to grow fond of it, but I have.",
        ],
        "poor": [
            "I wonder who thought this through, and I suspect nobody did.",
            "I kept it, out of a kind of loyalty, but I do not use it.",
            "I would rather have paid more and had it for ten years.",
        ],
    },
}

# What comments say about a post of each kind
ADVICE = {
    "job": [
        "At work the small decencies are what people remember years later, so keep doing that.",
        "I would tell your boss exactly what you told us, in the same words, and see what happens.",
        "Whatever the numbers say, that was the real work of that day.",
        "You could have looked away, and you did not, which is the whole point.",
    ],
    "hobby": [
        "Nobody who matters will remember the mishap, but they will remember that you were there.",
        "Please go on with it, even when a season goes wrong, because it clearly does you good.",
        "The people you meet over such things are half of the reason to do them at all.",
        "I started late as well, and I regret only that I waited for somebody to allow it.",
    ],
    "event": [
        "I would ring the bell again next week, with or without a reason, and bring something to eat.",
        "You cannot undo the first part, but the second part was all yours, and you did it well.",
        "My own family has a story like that, and by now everybody tells it as the good one.",
        "Give it a few weeks, and it will be the thing you laugh about together.",
    ],
}

TOWNS = [
    "Harlow Bend",
    "Ostermark",
    "Little Fenwick",
    "Pine Hollow",
    "Maridale",
    "Crosswater",
    "Eastbrook",
    "Tilden Moor",
    "Greyford",
    "Lower Sable",
    "Kestrel Bay",
    "Oakenshaw",
    "Brambleton",
    "Saltmarsh",
    "Winslow Ferry",
    "Ashgrove",
    "Dunmere",
    "Corvale",
    "Redstone Gap",
    "Millbank",
    "Farrow Hill",
    "Lindenau",
    "Seabright",
    "Copperfield",
    "Hazelmere",
    "Northwick",
    "Stillwater",
    "Elmstead",
    "Barrowdale",
    "Quarry Lane",
    "Whitby Cross",
    "Larkspur",
    "Thornley",
    "Fallow End",
    "Bridgeport Mills",
    "Heron Lake",
    "Moorgate",
    "Summerhill",
    "Old Harbour",
    "Juniper Flats",
    "Ravensworth",
    "Clearbrook",
]
PARTNERS = [
    "my wife Dana",
    "my husband Tom",
    "my girlfriend Iris",
    "my boyfriend Emil",
    "my wife Ruth",
    "my husband Karim",
    "my partner Lou",
    "my wife Nadia",
    "my husband Pete",
    "my partner Sam",
    "my wife Joan",
    "my husband Luis",
    "my girlfriend Mina",
    "my boyfriend Ben",
]
FAMILY = [
    "my sister",
    "my father",
    "my mother",
    "my brother",
    "my grandmother",
    "my daughter",
    "my son",
    "my aunt Vera",
    "my uncle Joe",
    "my cousin Lena",
    "my twin brother",
    "my stepfather",
    "my niece",
    "my mother-in-law",
]
FRIENDS = [
    "Marta",
    "Jonas",
    "Priya",
    "Old Bill",
    "Keiko",
    "Hanna",
    "Dario",
    "Fatima",
    "Greg",
    "Lucy",
    "Anders",
    "Rosa",
    "Theo",
    "Wanda",
]
PETS = [
    "our dog Biscuit",
    "my cat Miro",
    "our terrier Pepper",
    "the cat",
    "my greyhound Ida",
    "our old dog Bruno",
    "my cat Olive",
    "our spaniel Juno",
    "my dog Felix",
    "our cat Smokey",
    "the dog",
    "my cat Pixel",
    "our beagle Tuck",
    "my poodle Frieda",
]

# noun | what one does with it | what one notices about it
KITCHEN = """
cast iron pan|fries potatoes crisp on all sides|the handle gets hot, so keep a cloth near
bread knife|goes through a hard crust without tearing the crumb|the blade is longer than the picture suggests
salad spinner|dries a whole head of lettuce in ten turns|the lid clicks a bit loudly in the evening
digital kitchen scale|weighs flour to the gram every time|the display turns itself off rather quickly
tea kettle|boils a litre while I feed the animals|the whistle is friendly instead of shrill
rolling pin|rolls out cookie dough evenly|the wood needs oil once a month
coffee grinder|grinds enough beans for two cups|a little powder stays in the corner of the lid
pepper mill|gives coarse or fine pepper with one twist|filling it without a funnel is a small adventure
baking tray|lets cookies slide off by themselves|it bends slightly with a bang at high heat
soup ladle|serves a full bowl in two scoops|the hook holds it on the rim of the pot
muffin tin|bakes twelve muffins that all rise the same|the corners want a brush when you wash it
vegetable peeler|peels carrots in long thin strips|it is sharp enough to respect
measuring cups|nest inside each other in the drawer|the numbers are stamped in and cannot wash off
cutting board|keeps steady while I chop onions|the groove holds the juice of a tomato
whisk|makes cream stiff in two minutes|the wires have not come loose so far
mixing bowl|holds dough for two loaves|the rubber base stops it from wandering
garlic press|crushes three cloves at once|cleaning it takes longer than using it
colander|drains pasta for five people|the feet keep it above the sink water
pie dish|bakes a bottom that is not soggy|the glaze has a tiny bubble on the rim
kitchen timer|rings loud enough for the garden|the magnet holds it on the fridge
egg cooker|gets the yolks soft exactly when I want|the little needle for the shell is easy to lose
spice rack|holds eighteen jars in view|it needs a second pair of hands to mount
dish rack|dries the plates of a whole dinner|the tray below wants emptying every evening
toaster|browns both sides the same|the crumb drawer slides out without a fight
immersion blender|turns vegetables into a smooth soup|the cord could be half a metre longer
cheese grater|shreds a block of cheese in a minute|the fine side is for zest and for careful fingers
thermos flask|keeps tea hot until the afternoon|the cup on top is a bit small
lunch box|keeps salad and bread apart|the clips take a week to loosen
apron|covers a clean shirt completely|the pocket is deep enough for a phone
oven mitts|hold a tray straight from the oven|they are long enough for my wrists
wine rack|stores twelve bottles in the hallway|the screws are better than the instructions
butter dish|keeps butter soft but covered|the lid sits without rattling
"""
GARDEN = """
watering can|waters a bed without washing out the seeds|the rose comes off for cleaning
pruning shears|cut thumb-thick twigs with one hand|the lock sometimes closes in the pocket
garden hose|reaches from the tap to the far bed|it kinks once at the corner of the house
kneeling pad|saves my knees while I weed|it dries quickly after rain
bird feeder|brings finches to the kitchen window|the roof comes off for filling
compost bin|turns kitchen scraps into soil by spring|assembling it takes a calm afternoon
hand trowel|digs holes for bulbs without bending|the marks for depth are easy to read
leaf rake|gathers the leaves of two trees|the tines spring back into shape
solar lamp|lights the steps until midnight|it wants a sunny place in winter
rain gauge|shows what fell during the night|the scale is readable without glasses
planter box|holds six tomato plants on the balcony|the wood came sanded and smelled good
wheelbarrow|carries a whole bag of soil over grass|the tyre needs air twice a year
garden gloves|keep thorns away from my fingers|they are a little large for small hands
seed tray|raises forty seedlings on the sill|the clear lid keeps the moisture in
folding chair|carries me through long evenings outside|it folds flat behind the door
hedge trimmer|gets the long hedge done before lunch|the battery lasts for most of it
lawn edger|draws a clean line along the path|it needs some weight behind it
outdoor thermometer|tells me if there was frost|the numbers glow faintly in the dark
hammock|holds me and a book for an hour|the knots come with a good explanation
fire pit|keeps a circle of friends warm|the cover sits tight against rain
trellis|gives the beans something to climb|it is lighter than it looks but stands firm
plant labels|remind me of what I sowed where|pencil stays on better than ink
soil tester|explains why the hydrangea sulked|the needle wants a moment to settle
parasol|shades the table for four|the crank turns smoothly even in wind
bee hotel|had its first guests after a week|the roof overhangs enough to keep it dry
garden bench|stands the whole year without wobbling|the slats are wide enough to lean on
tool belt|keeps string and shears within reach|the buckle is real metal
sprinkler|covers the small lawn in one go|the head clicks like in old films
picnic blanket|keeps the damp of the meadow away|it rolls up with two straps
water butt|collects enough for a dry week|the tap sits high enough for the can
cold frame|gives me salad a month earlier|the lid stays open in three positions
bulb planter|lifts out the earth in one piece|the handle is kind to the wrist
"""
BRANDS = ("Hollin & Co", "Tarnwick")
OCCASIONS = [
    "I bought it after the old one gave up in the middle of a Sunday.",
    "It was meant for {family}, but it stayed with me.",
    "{partner} asked for one, so I gave in.",
    "As a {job} I have little time at home, so things have to work.",
    "I needed it before the next weekend of {hobby}.",
    "{friend} has the same one and would not stop talking about it.",
    "We moved to a smaller place in {town} and started from nothing.",
    "I treated myself to it after a long week.",
    "It replaced a present that I had never liked.",
    "I ordered it late one evening, half asleep, and forgot about it.",
    "With {pet} running between my feet I wanted something solid.",
    "My hands are not what they were, so I looked for something easy.",
    "I wanted to spend less this year and buy only what lasts.",
    "It was raining for days and I needed a small project.",
]
