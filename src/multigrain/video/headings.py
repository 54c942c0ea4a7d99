"""Words that stand before a colon and are nobody's name: what a review judges, how it judges, and how a sentence goes on."""

from multigrain.video.spoken import listed

_REMARKS = listed(
    "note notes nota ps nb question questions answer answers update edit warning warnung example tip tips hint fact facts disclaimer spoiler",
    "spoilers remember look listen title date time topic subject source today one thing things reason reasons option step part chapter rule",
    "lesson caution important bottom end also again honestly seriously first second third fourth fifth last next finally lastly firstly",
    "secondly point points item section episode season scene act page line number version level problem problems issue issues solution goal",
    "task idea advice suggestion suggestions recommendation recommendations request reminder quote verse song lyrics link website email contact",
    "address phone price cost location place language duration length release budget year month week day monday tuesday wednesday thursday",
    "friday saturday sunday morning afternoon evening night yesterday tomorrow now later before after meanwhile background context introduction",
    "intro outro overview agenda appendix fazit beispiel frage antwort hinweis achtung tipp remarque exemple réponse attention conseil ejemplo",
    "pregunta respuesta aviso consejo",
)
_TOPICS = listed(
    "verdict conclusion conclusions summary result results plot acting actor actors actress cast casting music rating ratings score scores",
    "overall story storyline cinematography pacing pace soundtrack dialogue dialog dialogues script screenplay writing direction directing",
    "director production design editing effects visuals visual graphics animation sound audio voice costumes costume makeup set sets camera",
    "camerawork lighting photography ending beginning middle opening finale climax twist twists character characters hero villain performance",
    "performances humor humour comedy drama action romance horror suspense tension atmosphere mood tone theme themes message genre style",
    "quality value service food drinks staff ambience cleanliness room rooms breakfast battery display screen software hardware build comfort",
    "fit size color colour material taste smell texture packaging delivery shipping support usability interface gameplay controls difficulty",
    "replayability review reviews opinion opinions thought thoughts impression impressions feeling feelings takeaway takeaways highlight",
    "highlights lowlight lowlights moment moments strength strengths weakness weaknesses advantage advantages disadvantage disadvantages upside",
    "upsides downside downsides benefit benefits drawback drawbacks positive positives negative negatives plus pluses minus minuses pro pros",
    "con cons favorite favourite favorites favourites recommended recommend grade marks stars star total final movie film films movies",
    "book series show documentary sequel prequel remake trailer handlung musik schauspieler schauspiel bewertung urteil vorteile nachteile",
    "vorteil nachteil stärken schwächen zusammenfassung ergebnis kamera regie drehbuch ende avis avantages inconvénients musique histoire",
    "acteurs scénario résumé conclusión ventajas desventajas música historia actores guion guión resumen veredicto actuación",
)
_JUDGEMENTS = listed(
    "good great excellent amazing awesome wonderful fantastic superb brilliant perfect lovely beautiful gorgeous stunning outstanding nice fine",
    "okay ok decent solid fun funny hilarious interesting exciting enjoyable entertaining impressive masterpiece best better bad awful terrible",
    "horrible dreadful poor worse worst boring dull bland lame weak ugly disappointing disappointment mediocre average annoying ridiculous",
    "stupid pathetic overrated underrated garbage trash rubbish waste disgusting sad happy love loved hate hated like liked dislike disliked",
    "enjoyed surprising surprise shocking scary weird strange wow meh gut schlecht super toll schrecklich furchtbar bon mauvais bien mal bueno",
    "malo malísimo genial",
)
_SENTENCE = listed(
    "i you he she it we they me him us them my your his her its our their this that these those a an the at in on by for from with without to",
    "of about under over between during since until and but or nor so if then than when what why who whom whose which how where there here is",
    "are was were be been am do does did have has had would can could should must might not no yes yeah yep nope maybe perhaps well oh",
    "ah um uh okay hey hi hello bye thanks thank please sorry really actually basically literally anyway however therefore because although",
    "though still just only even very too more most some any all both each every many much few several another other such as",
)
_OTHER_SCRIPTS = listed(
    "结论 結論 优点 優點 缺点 缺點 总结 總結 总之 評價 评价 评分 評分 剧情 劇情 演技 音乐 音樂 配乐 配樂 画面 畫面 节奏 節奏 结局 結局 导演",
    "導演 演员 演員 故事 优势 劣势 亮点 亮點 不足 建议 建議 推荐 推薦 注意 提示 备注 備註 问题 問題 答案 例如 比如 首先 其次 最后 最後 第一",
    "第二 第三 好 坏 很好 很差 特效 摄影 攝影 主题 主題 类型 類型 时间 時間 地点 地點 原因 结果 結果 观点 觀點 感受 体验 體驗 质量 質量 价格",
    "價格 服务 服務 口味 环境 環境 良い点 悪い点 長所 短所 感想 まとめ 総評 評点 演出 映像 脚本 注意点 例 理由 おすすめ 결론 장점 단점 평점",
    "연기 음악 스토리 총평 이유 예 감상 итог вывод плюсы минусы сюжет музыка оценка актеры актёры вердикт",
)
HEADINGS = _REMARKS | _TOPICS | _JUDGEMENTS | _OTHER_SCRIPTS
"""None of the words of a name is one of these; where one stands before a colon, the other words before colons are likely headings too."""
SENTENCE_WORDS = _SENTENCE
"""No name begins with one of these."""
ROLES = listed(
    "interviewer interviewee host co-host cohost guest narrator moderator presenter reporter journalist anchor announcer caller operator",
    "customer agent doctor patient therapist client teacher student professor man woman boy girl male female child mother father mom dad",
    "researcher facilitator respondent participant coach judge lawyer witness officer speaker moderatorin sprecherin interviewerin befragte",
    "befragter intervieweuse 主持人 记者 記者 嘉宾 嘉賓 旁白 采访者 受访者 司会 사회자 기자 ведущий ведущая интервьюер корреспондент",
)
"""Who speaks by what they do."""
SURNAMES = frozenset(
    "王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何高林罗羅郑鄭梁谢謝宋唐许許韩韓冯馮邓鄧曹彭曾肖田董袁潘于蒋蔣蔡余杜叶"
    "葉程苏蘇魏吕呂丁任沈姚卢盧姜崔钟鐘谭譚陆陸汪范石廖贾賈夏韦韋付方白邹鄒孟熊秦邱江尹薛闫阎段雷侯龙龍史陶黎贺賀顾顧毛郝龚龔"
    "邵万萬钱錢严嚴武戴莫孔向汤湯김이박최정강조윤장임"
)
"""With which Chinese and Korean names begin."""
FIRST_NAMES = listed(
    "ann anna anne annie amy alice alex alexander alexandra alexis ali alan albert alfred amanda amelia amir andrea andreas andrew andy angela",
    "anita anthony antonio arjun arthur ashley ava aya barbara ben benjamin bernd betty beth bianca bo bob bobby brandon brenda brian bruno",
    "camille carl carla carlos carmen carol caroline catherine cathy chad charles charlie charlotte chen chloe chris christian christina",
    "christine christoph claire clara claudia daniel daniela dave david deborah debra denise dennis diana diego dirk dmitri donald donna dora",
    "doris dorothy doug douglas dylan ed eddie edward elena eli elias elisabeth elizabeth ella ellen emil emily emma eric erik erika eva evelyn",
    "fatima felix fernando fiona florian francesca francesco frances francis fred frederik gabriel gary george georg gerald gina giulia",
    "giuseppe gloria greg gregory hannah hans harry hassan heather heidi helen helena henry hiroshi howard hugo ian ibrahim ines ingrid irene",
    "isaac isabel isabella ivan jack jackie jacob jake james jan jane janet janice jason javier jean jeff jeffrey jennifer jenny jeremy jerry",
    "jesse jessica jim jimmy joan joe joel johan johannes john johnny jon jonas jonathan jorge jose josé joseph josh joshua juan judith judy",
    "julia julian julie julien jürgen justin karen karin karl kate katharina katherine kathleen kathy katie keiko keith kelly ken kenneth kevin",
    "khalid kim klaus kyle lara larry laura lauren lea lee lena leo leon leonie liam linda lisa liz louis louise lucas lucy luis luisa lukas",
    "luke lydia maria marie marina mario marion martha martin mary mateo matt matthew matthias maya mei melanie melissa mia michael michele",
    "michelle miguel mike mila mohamed mohammed monica monika muhammad nadia nancy naomi natalia natalie nathan nicholas nick nicole nina noah",
    "nora nicolas oliver olivia olga omar oscar pablo pam pamela patricia patrick paul paula pauline pavel pedro peter petra phil philip",
    "philipp pierre priya rachel rahul raj ralf ralph ramon raymond rebecca rita robert roberto robin roger ron ronald rosa ruth ryan sabine",
    "sally sam samantha samuel sandra sanjay sara sarah scott sean sebastian sergey sergio sharon shirley simon simone sofia sonja sophia",
    "sophie stefan stefanie stephanie stephen steve steven sue susan susanne tanja tanya taro ted teresa thomas tim timothy tina tobias todd",
    "tom tony tyler ursula uwe vanessa vera veronica victor victoria vincent virginia vladimir walter wei wendy werner william wolfgang xavier",
    "yan yasmin yuki yusuf zach zoe zoé",
)
"""Common ones that are no other words; those of scripts without capitals are not told from words by a list."""
