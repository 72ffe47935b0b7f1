package simulator

import "strings"

// nickname makes up a name as the people of a region write theirs: any script,
// either direction, emoji. A rename gives the same creator another one.
func nickname(region string, key uint64, renames uint16) string {
	h := mix(key, detailName, uint64(renames), 1)
	if h%97 == 0 {
		return oddNames[h>>8%uint64(len(oddNames))]
	}
	given, family := names(region, h>>16%8)
	name := given[h>>24%uint64(len(given))]
	if len(family) > 0 {
		name += family[h>>32%uint64(len(family))]
	}
	return strings.Replace(ornaments[h>>40%uint64(len(ornaments))], "%", name, 1)
}

var ornaments = []string{
	"%", "%", "%", "%", "% ✨", "🌸 % 🌸", "% 💄", "% | reviews", "%🔥", "✿ % ✿", "% 🇺🇳", "its %", "%.shop",
	"% 👩🏽‍🦱", "𝓜 %", "%™", "♡ % ♡", "% 🛍️",
}

// oddNames are what a consumer trips over: markup, quotes, direction overrides,
// long graphemes, stacked accents, line breaks.
var oddNames = []string{
	`<b>Deals & "more"</b>`,
	"👨‍👩‍👧‍👦👩‍❤️‍💋‍👩👨‍👨‍👦‍👦🏳️‍🌈🏴‍☠️ family of very long graphemes 👨‍👩‍👧‍👦👨‍👩‍👧‍👦",
	"Z̷͇̈́a̴̦͝l̶͖̕g̵̻̓o̸͙͘ beauty",
	"\u202Eeman desrever\u202C",
	"مرحبا 123 hello שלום",
	"line\nbreak\tand tab",
	"back\\slash / 100% *bold* _it_",
	"  ",
	"ﷺﷺ ﷽",
	"e\u0301cole vs \u00e9cole",
	"\u200b\ufeffzero width",
	"O'Neil; DROP TABLE creators;--",
}

// A pool holds given and family names; a family name brings its own space.
type pool struct{ given, family []string }

// names returns the pool for a creator of a region; about one in eight has a
// name from elsewhere.
func names(region string, dice uint64) (given, family []string) {
	var p pool
	switch region {
	case "US", "GB":
		p = english
	case "MX", "ES", "BR":
		p = iberian
	case "DE":
		p = german
	case "IT", "FR":
		p = romance
	case "ID", "MY", "PH", "SG":
		p = malay
	case "VN":
		p = vietnamese
	case "TH":
		p = thai
	case "JP":
		p = japanese
	}
	if dice == 0 {
		switch region {
		case "US", "GB", "DE", "FR", "ID", "MY":
			p = rightToLeft
		case "JP", "SG", "TH", "VN":
			p = chinese
		default:
			p = elsewhere
		}
	}
	return p.given, p.family
}

var (
	english = pool{
		[]string{"Emma", "Olivia", "Noah", "Mia", "Itzel", "Jayden", "Ruby", "Aria", "Leo", "Zoë", "Chloé", "Kai"},
		[]string{" Smith", " Johnson", " O'Brien", " Lee", " Garcia", " Brown", " K.", " Clarke", ""},
	}
	iberian = pool{
		[]string{"Ximena", "Íñigo", "Núria", "José", "María José", "Lucía", "João", "Antônia", "Beatriz", "Ángel"},
		[]string{" Muñoz", " Peña", " Gonçalves", " da Conceição", " Ibáñez", ""},
	}
	german = pool{
		[]string{"Jürgen", "Käthe", "Lena", "Björn", "Sören", "Anneliese"},
		[]string{" Müller", " Groß", " Schön", ""},
	}
	romance = pool{
		[]string{"Giulia", "Niccolò", "Chloé", "Maëlle", "François", "Noémie"},
		[]string{" D’Angelo", " Lefèvre", " Rossi", ""},
	}
	malay = pool{
		[]string{"Siti", "Dewi", "Putri", "Budi", "Aisyah", "Jomar", "Maricel", "Wei Ling"},
		[]string{" Rahma", " Ayu", " Santos", " Tan", ""},
	}
	vietnamese = pool{
		[]string{"Nguyễn Thị Hằng", "Trần Ngọc", "Phạm Quỳnh", "Lê Đức", "Hoàng Yến"},
		[]string{" Review", " Mỹ Phẩm", ""},
	}
	thai = pool{
		[]string{"น้ำฝน", "สมชาย", "ปิยะ", "กัญญา", "แก้ว"},
		[]string{" รีวิว", " ช้อป", ""},
	}
	japanese = pool{
		[]string{"さくら", "美咲", "ハルカ", "健太", "結衣"},
		[]string{"のコスメ", "ちゃん", "・田中", ""},
	}
	rightToLeft = pool{
		[]string{"نور", "فاطمة", "محمد", "ليلى", "יעל", "נועה", "אבי"},
		[]string{" الجمال", " علي", " כהן", ""},
	}
	chinese = pool{
		[]string{"小红", "王芳", "李娜", "美麗", "陳大文"},
		[]string{"的日常", "好物", "美妝", ""},
	}
	elsewhere = pool{[]string{"Юлия", "Αλίκη", "서연", "지민", "さくら", "मीरा"}, nil}
)
