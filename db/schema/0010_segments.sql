-- +goose Up
-- Segments, complete: what their conditions are compiled to, static ones, and who uses which.

-- fold_case maps every letter to the first of those that differ from it in case only (Unicode simple folding), whatever
-- the locale of the database: the same as fold in internal/segment. A letter is looked up from the table's beginning on: the
-- common ones come first, though they stay what they are, and text without the rarer ones is spared theirs.
-- +goose StatementBegin
CREATE FUNCTION fold_case(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN octet_length(value) = length(value) THEN upper(value COLLATE "C")
        WHEN value !~ ('[\u0183-\u0292\u0461-\u0586\u13F8-\u13FD\u1C80-\u1CBF\u1E01-\u1FFC\u2126-\u2184\u24D0-\u24E9'
            '\u2C30-\u2D2D\uA641-\uA69B\uA723-\uA7F6\uAB53-\uABBF\uFF41-\uFF5A\U00010428-\U0001044F'
            '\U000104D8-\U000104FB\U00010597-\U000105BC\U00010CC0-\U00010CF2\U000118C0-\U000118DF'
            '\U00016E60-\U00016E7F\U0001E922-\U0001E943]') THEN translate(upper(value COLLATE "C"),
            'EAIONRTSLUDHMCGPBKYVFWZJXQ 0123456789'
            'àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷŸźżžſͱͳͷΙΜάέ'
            'ήίαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώϐϑϕϖϗϙϛϝϟϡϣϥϧϩϫϭϯϰϱϳϴϵϸϹϻϽϾϿабвгдежзийклмнопрстуфхцчшщъыьэюяѐёђѓєѕії'
            'јљњћќѝўџ',
            'EAIONRTSLUDHMCGPBKYVFWZJXQ 0123456789'
            'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶÿŹŻŽSͰͲͶͅµΆΈ'
            'ΉΊΑΒΓΔΕΖΗΘͅΚΛµΝΞΟΠΡΣΣΤΥΦΧΨΩΪΫΌΎΏΒΘΦΠϏϘϚϜϞϠϢϤϦϨϪϬϮΚΡͿΘΕϷϲϺͻͼͽАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЀЁЂЃЄЅІЇ'
            'ЈЉЊЋЌЍЎЏ')
        ELSE translate(translate(upper(value COLLATE "C"),
            'EAIONRTSLUDHMCGPBKYVFWZJXQ 0123456789'
            'àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷŸźżžſͱͳͷΙΜάέ'
            'ήίαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώϐϑϕϖϗϙϛϝϟϡϣϥϧϩϫϭϯϰϱϳϴϵϸϹϻϽϾϿабвгдежзийклмнопрстуфхцчшщъыьэюяѐёђѓєѕії'
            'јљњћќѝўџ',
            'EAIONRTSLUDHMCGPBKYVFWZJXQ 0123456789'
            'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶÿŹŻŽSͰͲͶͅµΆΈ'
            'ΉΊΑΒΓΔΕΖΗΘͅΚΛµΝΞΟΠΡΣΣΤΥΦΧΨΩΪΫΌΎΏΒΘΦΠϏϘϚϜϞϠϢϤϦϨϪϬϮΚΡͿΘΕϷϲϺͻͼͽАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЀЁЂЃЄЅІЇ'
            'ЈЉЊЋЌЍЎЏ'),
            'ƃƅƈƌƒƙơƣƥƨƭưƴƶƹƽǅǆǈǉǋǌǎǐǒǔǖǘǚǜǝǟǡǣǥǧǩǫǭǯǲǳǵǶǷǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗșțȝȟȠȣȥȧȩȫȭȯȱȳȼȽɂɃɇɉɋɍɏɓɔɖɗəɛɠɣɨɩɯɲɵʀʃʈ'
            'ʉʊʋʌʒѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӂӄӆӈӊӌӎӏӑӓӕӗәӛӝӟӡӣӥӧөӫӭӯӱӳӵӷӹӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥ'
            'ԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆᏸᏹᏺᏻᏼᏽᲀᲁᲂᲃᲄᲅᲆᲇᲐᲑᲒᲓᲔᲕᲖᲗᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮᲯᲰᲱᲲᲳᲴᲵᲶᲷᲸᲹᲺ'
            'ᲽᲾᲿḁḃḅḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽṿẁẃẅẇẉẋẍẏẑẓẕẛẞạảấầẩẫậắằẳẵặẹẻẽếềểễệ'
            'ỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹỻỽỿἈἉἊἋἌἍἎἏἘἙἚἛἜἝἨἩἪἫἬἭἮἯἸἹἺἻἼἽἾἿὈὉὊὋὌὍὙὛὝὟὨὩὪὫὬὭὮὯᾈᾉᾊᾋᾌᾍᾎᾏᾘᾙᾚᾛᾜᾝᾞᾟᾨᾩᾪᾫᾬᾭᾮᾯ'
            'ᾸᾹᾺΆᾼιῈΈῊΉῌῘῙῚΊῨῩῪΎῬῸΌῺΏῼΩKÅⅎⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻⅼⅽⅾⅿↄⓐⓑⓒⓓⓔⓕⓖⓗⓘⓙⓚⓛⓜⓝⓞⓟⓠⓡⓢⓣⓤⓥⓦⓧⓨⓩⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿⱀⱁⱂⱃⱄⱅⱆⱇⱈⱉⱊⱋ'
            'ⱌⱍⱎⱏⱐⱑⱒⱓⱔⱕⱖⱗⱘⱙⱚⱛⱜⱝⱞⱟⱡⱢⱣⱤⱥⱦⱨⱪⱬⱭⱮⱯⱰⱳⱶⱾⱿⲁⲃⲅⲇⲉⲋⲍⲏⲑⲓⲕⲗⲙⲛⲝⲟⲡⲣⲥⲧⲩⲫⲭⲯⲱⲳⲵⲷⲹⲻⲽⲿⳁⳃⳅⳇⳉⳋⳍⳏⳑⳓⳕⳗⳙⳛⳝⳟⳡⳣⳬⳮⳳⴀⴁⴂⴃⴄⴅⴆⴇⴈⴉ'
            'ⴊⴋⴌⴍⴎⴏⴐⴑⴒⴓⴔⴕⴖⴗⴘⴙⴚⴛⴜⴝⴞⴟⴠⴡⴢⴣⴤⴥⴧⴭꙁꙃꙅꙇꙉꙊꙋꙍꙏꙑꙓꙕꙗꙙꙛꙝꙟꙡꙣꙥꙧꙩꙫꙭꚁꚃꚅꚇꚉꚋꚍꚏꚑꚓꚕꚗꚙꚛꜣꜥꜧꜩꜫꜭꜯꜳꜵꜷꜹꜻꜽꜿꝁꝃꝅꝇꝉꝋꝍꝏꝑꝓꝕꝗꝙꝛꝝꝟꝡꝣ'
            'ꝥꝧꝩꝫꝭꝯꝺꝼꝽꝿꞁꞃꞅꞇꞌꞍꞑꞓꞗꞙꞛꞝꞟꞡꞣꞥꞧꞩꞪꞫꞬꞭꞮꞰꞱꞲꞵꞷꞹꞻꞽꞿꟁꟃꟄꟅꟆꟈꟊꟑꟗꟙꟶꭓꭰꭱꭲꭳꭴꭵꭶꭷꭸꭹꭺꭻꭼꭽꭾꭿꮀꮁꮂꮃꮄꮅꮆꮇꮈꮉꮊꮋꮌꮍꮎꮏꮐꮑꮒꮓꮔꮕꮖꮗꮘꮙꮚꮛꮜꮝ'
            'ꮞꮟꮠꮡꮢꮣꮤꮥꮦꮧꮨꮩꮪꮫꮬꮭꮮꮯꮰꮱꮲꮳꮴꮵꮶꮷꮸꮹꮺꮻꮼꮽꮾꮿａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ𐐨𐐩𐐪𐐫𐐬𐐭𐐮𐐯𐐰𐐱𐐲𐐳𐐴𐐵𐐶𐐷𐐸𐐹𐐺𐐻𐐼𐐽𐐾𐐿𐑀𐑁𐑂𐑃𐑄𐑅𐑆𐑇𐑈𐑉𐑊𐑋𐑌𐑍𐑎𐑏'
            '𐓘𐓙𐓚𐓛𐓜𐓝𐓞𐓟𐓠𐓡𐓢𐓣𐓤𐓥𐓦𐓧𐓨𐓩𐓪𐓫𐓬𐓭𐓮𐓯𐓰𐓱𐓲𐓳𐓴𐓵𐓶𐓷𐓸𐓹𐓺𐓻𐖗𐖘𐖙𐖚𐖛𐖜𐖝𐖞𐖟𐖠𐖡𐖣𐖤𐖥𐖦𐖧𐖨𐖩𐖪𐖫𐖬𐖭𐖮𐖯𐖰𐖱𐖳𐖴𐖵𐖶𐖷𐖸𐖹𐖻𐖼𐳀𐳁𐳂𐳃𐳄𐳅𐳆𐳇𐳈𐳉𐳊𐳋𐳌𐳍𐳎𐳏𐳐𐳑𐳒𐳓𐳔𐳕𐳖𐳗𐳘𐳙𐳚𐳛𐳜'
            '𐳝𐳞𐳟𐳠𐳡𐳢𐳣𐳤𐳥𐳦𐳧𐳨𐳩𐳪𐳫𐳬𐳭𐳮𐳯𐳰𐳱𐳲𑣀𑣁𑣂𑣃𑣄𑣅𑣆𑣇𑣈𑣉𑣊𑣋𑣌𑣍𑣎𑣏𑣐𑣑𑣒𑣓𑣔𑣕𑣖𑣗𑣘𑣙𑣚𑣛𑣜𑣝𑣞𑣟𖹠𖹡𖹢𖹣𖹤𖹥𖹦𖹧𖹨𖹩𖹪𖹫𖹬𖹭𖹮𖹯𖹰𖹱𖹲𖹳𖹴𖹵𖹶𖹷𖹸𖹹𖹺𖹻𖹼𖹽𖹾𖹿𞤢𞤣𞤤𞤥𞤦𞤧𞤨𞤩𞤪𞤫𞤬𞤭𞤮𞤯'
            '𞤰𞤱𞤲𞤳𞤴𞤵𞤶𞤷𞤸𞤹𞤺𞤻𞤼𞤽𞤾𞤿𞥀𞥁𞥂𞥃',
            'ƂƄƇƋƑƘƠƢƤƧƬƯƳƵƸƼǄǄǇǇǊǊǍǏǑǓǕǗǙǛƎǞǠǢǤǦǨǪǬǮǱǱǴƕƿǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖȘȚȜȞƞȢȤȦȨȪȬȮȰȲȻƚɁƀɆɈɊɌɎƁƆƉƊƏƐƓƔƗƖƜƝƟƦƩƮ'
            'ɄƱƲɅƷѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӁӃӅӇӉӋӍӀӐӒӔӖӘӚӜӞӠӢӤӦӨӪӬӮӰӲӴӶӸӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤ'
            'ԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖᏰᏱᏲᏳᏴᏵВДОСТТЪѢაბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰჱჲჳჴჵჶჷჸჹჺ'
            'ჽჾჿḀḂḄḆḈḊḌḎḐḒḔḖḘḚḜḞḠḢḤḦḨḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼṾẀẂẄẆẈẊẌẎẐẒẔṠßẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆ'
            'ỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸỺỼỾἀἁἂἃἄἅἆἇἐἑἒἓἔἕἠἡἢἣἤἥἦἧἰἱἲἳἴἵἶἷὀὁὂὃὄὅὑὓὕὗὠὡὢὣὤὥὦὧᾀᾁᾂᾃᾄᾅᾆᾇᾐᾑᾒᾓᾔᾕᾖᾗᾠᾡᾢᾣᾤᾥᾦᾧ'
            'ᾰᾱὰάᾳͅὲέὴήῃῐῑὶίῠῡὺύῥὸόὼώῳΩKÅℲⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫⅬⅭⅮⅯↃⒶⒷⒸⒹⒺⒻⒼⒽⒾⒿⓀⓁⓂⓃⓄⓅⓆⓇⓈⓉⓊⓋⓌⓍⓎⓏⰀⰁⰂⰃⰄⰅⰆⰇⰈⰉⰊⰋⰌⰍⰎⰏⰐⰑⰒⰓⰔⰕⰖⰗⰘⰙⰚⰛ'
            'ⰜⰝⰞⰟⰠⰡⰢⰣⰤⰥⰦⰧⰨⰩⰪⰫⰬⰭⰮⰯⱠɫᵽɽȺȾⱧⱩⱫɑɱɐɒⱲⱵȿɀⲀⲂⲄⲆⲈⲊⲌⲎⲐⲒⲔⲖⲘⲚⲜⲞⲠⲢⲤⲦⲨⲪⲬⲮⲰⲲⲴⲶⲸⲺⲼⲾⳀⳂⳄⳆⳈⳊⳌⳎⳐⳒⳔⳖⳘⳚⳜⳞⳠⳢⳫⳭⳲႠႡႢႣႤႥႦႧႨႩ'
            'ႪႫႬႭႮႯႰႱႲႳႴႵႶႷႸႹႺႻႼႽႾႿჀჁჂჃჄჅჇჍꙀꙂꙄꙆꙈᲈᲈꙌꙎꙐꙒꙔꙖꙘꙚꙜꙞꙠꙢꙤꙦꙨꙪꙬꚀꚂꚄꚆꚈꚊꚌꚎꚐꚒꚔꚖꚘꚚꜢꜤꜦꜨꜪꜬꜮꜲꜴꜶꜸꜺꜼꜾꝀꝂꝄꝆꝈꝊꝌꝎꝐꝒꝔꝖꝘꝚꝜꝞꝠꝢ'
            'ꝤꝦꝨꝪꝬꝮꝹꝻᵹꝾꞀꞂꞄꞆꞋɥꞐꞒꞖꞘꞚꞜꞞꞠꞢꞤꞦꞨɦɜɡɬɪʞʇʝꞴꞶꞸꞺꞼꞾꟀꟂꞔʂᶎꟇꟉꟐꟖꟘꟵꞳᎠᎡᎢᎣᎤᎥᎦᎧᎨᎩᎪᎫᎬᎭᎮᎯᎰᎱᎲᎳᎴᎵᎶᎷᎸᎹᎺᎻᎼᎽᎾᎿᏀᏁᏂᏃᏄᏅᏆᏇᏈᏉᏊᏋᏌᏍ'
            'ᏎᏏᏐᏑᏒᏓᏔᏕᏖᏗᏘᏙᏚᏛᏜᏝᏞᏟᏠᏡᏢᏣᏤᏥᏦᏧᏨᏩᏪᏫᏬᏭᏮᏯＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ𐐀𐐁𐐂𐐃𐐄𐐅𐐆𐐇𐐈𐐉𐐊𐐋𐐌𐐍𐐎𐐏𐐐𐐑𐐒𐐓𐐔𐐕𐐖𐐗𐐘𐐙𐐚𐐛𐐜𐐝𐐞𐐟𐐠𐐡𐐢𐐣𐐤𐐥𐐦𐐧'
            '𐒰𐒱𐒲𐒳𐒴𐒵𐒶𐒷𐒸𐒹𐒺𐒻𐒼𐒽𐒾𐒿𐓀𐓁𐓂𐓃𐓄𐓅𐓆𐓇𐓈𐓉𐓊𐓋𐓌𐓍𐓎𐓏𐓐𐓑𐓒𐓓𐕰𐕱𐕲𐕳𐕴𐕵𐕶𐕷𐕸𐕹𐕺𐕼𐕽𐕾𐕿𐖀𐖁𐖂𐖃𐖄𐖅𐖆𐖇𐖈𐖉𐖊𐖌𐖍𐖎𐖏𐖐𐖑𐖒𐖔𐖕𐲀𐲁𐲂𐲃𐲄𐲅𐲆𐲇𐲈𐲉𐲊𐲋𐲌𐲍𐲎𐲏𐲐𐲑𐲒𐲓𐲔𐲕𐲖𐲗𐲘𐲙𐲚𐲛𐲜'
            '𐲝𐲞𐲟𐲠𐲡𐲢𐲣𐲤𐲥𐲦𐲧𐲨𐲩𐲪𐲫𐲬𐲭𐲮𐲯𐲰𐲱𐲲𑢠𑢡𑢢𑢣𑢤𑢥𑢦𑢧𑢨𑢩𑢪𑢫𑢬𑢭𑢮𑢯𑢰𑢱𑢲𑢳𑢴𑢵𑢶𑢷𑢸𑢹𑢺𑢻𑢼𑢽𑢾𑢿𖹀𖹁𖹂𖹃𖹄𖹅𖹆𖹇𖹈𖹉𖹊𖹋𖹌𖹍𖹎𖹏𖹐𖹑𖹒𖹓𖹔𖹕𖹖𖹗𖹘𖹙𖹚𖹛𖹜𖹝𖹞𖹟𞤀𞤁𞤂𞤃𞤄𞤅𞤆𞤇𞤈𞤉𞤊𞤋𞤌𞤍'
            '𞤎𞤏𞤐𞤑𞤒𞤓𞤔𞤕𞤖𞤗𞤘𞤙𞤚𞤛𞤜𞤝𞤞𞤟𞤠𞤡')
    END
$$;

-- attribute_time reads a date, which stands for its first moment in UTC, or a time with its zone; NULL for all else.
CREATE FUNCTION attribute_time(value jsonb) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN jsonb_typeof(value) IS DISTINCT FROM 'string' OR (value #>> '{}') !~ ('^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])'
            '(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9]))?$') THEN NULL
        WHEN substr(value #>> '{}', 9, 2)::integer > extract(day FROM  -- of the month's last day
            make_date(substr(value #>> '{}', 1, 4)::integer, substr(value #>> '{}', 6, 2)::integer, 1) + interval '1 month - 1 day') THEN NULL
        WHEN length(value #>> '{}') = 10 THEN ((value #>> '{}') || 'T00:00:00Z')::timestamptz
        ELSE (value #>> '{}')::timestamptz
    END
$$;
-- +goose StatementEnd

ALTER TABLE segments ADD COLUMN kind text NOT NULL DEFAULT 'dynamic',
    ADD CONSTRAINT segments_kind_known CHECK (kind IN ('dynamic', 'static'));

-- Who was put into a static segment. user_id refers to users without a constraint: checking it would lock every person of a
-- large upload until its end, and with them their STOP. Erasing someone takes them out.
CREATE TABLE segment_members (
    segment_id integer NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    user_id    bigint NOT NULL,
    PRIMARY KEY (segment_id, user_id)
);
CREATE INDEX segment_members_user ON segment_members (user_id);

ALTER TABLE campaigns ADD COLUMN exclude_segment_ids integer[] NOT NULL DEFAULT '{}';  -- whoever is in one is suppressed by the freeze

-- Which definitions refer to a segment, besides campaigns.segment_id: none of these segments can be deleted.
CREATE TABLE segment_uses (
    segment_id     integer NOT NULL REFERENCES segments (id),
    by_segment_id  integer REFERENCES segments (id) ON DELETE CASCADE,
    by_campaign_id integer REFERENCES campaigns (id) ON DELETE CASCADE,
    CONSTRAINT segment_uses_by_one CHECK (num_nonnulls(by_segment_id, by_campaign_id) = 1)
);
CREATE INDEX segment_uses_segment ON segment_uses (segment_id);
CREATE INDEX segment_uses_by_segment ON segment_uses (by_segment_id);
CREATE INDEX segment_uses_by_campaign ON segment_uses (by_campaign_id);

-- What conditions ask for most.
CREATE INDEX users_city ON users (left(fold_case(attributes ->> 'city'), 64) text_pattern_ops);
CREATE INDEX users_region ON users (region);
CREATE INDEX users_created_at ON users (created_at);
CREATE INDEX users_last_inbound_at ON users (last_inbound_at) WHERE last_inbound_at IS NOT NULL;

-- +goose Down
DROP INDEX users_last_inbound_at;
DROP INDEX users_created_at;
DROP INDEX users_region;
DROP INDEX users_city;
DROP TABLE segment_uses;
ALTER TABLE campaigns DROP COLUMN exclude_segment_ids;
DROP TABLE segment_members;
ALTER TABLE segments DROP COLUMN kind;
DROP FUNCTION attribute_time(jsonb);
DROP FUNCTION fold_case(text);
