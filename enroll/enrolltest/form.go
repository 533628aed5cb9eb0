package enrolltest

import (
	"html"
	"net/http"
	"strings"
)

// form is what a user sees of an HTML form.
type form struct {
	action, method string
	inputs         []input // in page order, those that would be submitted
	button         input   // the first submit button
}

type input struct{ name, kind, value string }

// chooseForm picks the form a user at the page would use: the one that asks for a password, else one with something
// to type, else the first (consent pages, and the self-submitting pages of sign-in protocols).
func chooseForm(forms []form) (form, bool) {
	if len(forms) == 0 {
		return form{}, false
	}
	best, score := forms[0], 0
	for _, f := range forms {
		s := 0
		for _, in := range f.inputs {
			switch in.kind {
			case "password":
				s = 2
			case "text", "email", "tel":
				s = max(s, 1)
			}
		}
		if s > score {
			best, score = f, s
		}
	}
	return best, true
}

// tag is one tag of a page; text is what stands between the previous tag and this one.
type tag struct {
	text  string
	name  string // lower case, with a leading slash for end tags; empty at the end of the page
	attrs map[string]string
}

// parseForms finds the forms of an HTML page. It reads the HTML that sign-in pages consist of, without scripts.
func parseForms(page []byte) []form {
	var out []form
	var cur *form
	var selected *input // the select element being read
	var area *input     // the textarea being read
	for rest := string(page); rest != ""; {
		var t tag
		t, rest = nextTag(rest)
		if area != nil && t.name == "/textarea" {
			area.value = html.UnescapeString(t.text)
			cur.inputs = append(cur.inputs, *area)
			area = nil
		}
		if t.name == "form" {
			out = append(out, form{action: t.attrs["action"], method: strings.ToUpper(t.attrs["method"])})
			cur = &out[len(out)-1]
			if cur.method == "" {
				cur.method = http.MethodGet
			}
		}
		if cur == nil {
			continue
		}
		_, disabled := t.attrs["disabled"]
		in := input{name: t.attrs["name"], kind: strings.ToLower(t.attrs["type"]), value: t.attrs["value"]}
		switch t.name {
		case "/form":
			cur, area, selected = nil, nil, nil
		case "input":
			if !disabled {
				cur.addInput(in, t.attrs)
			}
		case "button":
			if !disabled && (in.kind == "" || in.kind == "submit") {
				in.kind = "submit"
				cur.addInput(in, t.attrs)
			}
		case "textarea":
			in.kind = "text"
			area = &in
		case "select":
			in.kind = "select"
			selected = &in
		case "option":
			_, chosen := t.attrs["selected"]
			if selected != nil && (chosen || selected.value == "") {
				selected.value = in.value
			}
		case "/select":
			if selected != nil {
				cur.inputs = append(cur.inputs, *selected)
				selected = nil
			}
		}
	}
	return out
}

func (f *form) addInput(in input, attrs map[string]string) {
	_, checked := attrs["checked"]
	switch in.kind {
	case "":
		in.kind = "text"
		f.inputs = append(f.inputs, in)
	case "submit", "image":
		if f.button == (input{}) {
			f.button = in
		}
	case "button", "reset", "file":
	case "checkbox", "radio":
		if checked {
			if _, ok := attrs["value"]; !ok {
				in.value = "on"
			}
			f.inputs = append(f.inputs, in)
		}
	default:
		f.inputs = append(f.inputs, in)
	}
}

// nextTag cuts the next tag off s. Comments and the content of script and style are skipped.
func nextTag(s string) (t tag, rest string) {
	var text strings.Builder
	for {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			text.WriteString(s)
			return tag{text: text.String()}, ""
		}
		text.WriteString(s[:i])
		s = s[i+1:]
		if after, ok := strings.CutPrefix(s, "!--"); ok {
			_, s, _ = strings.Cut(after, "-->")
			continue
		}
		if s == "" || !isTagStart(s) {
			text.WriteByte('<')
			continue
		}
		t, rest = readTag(s)
		t.text = text.String()
		if t.name == "script" || t.name == "style" {
			end := indexFold(rest, "</"+t.name)
			if end < 0 {
				rest = ""
			} else {
				rest = rest[end:]
			}
		}
		return t, rest
	}
}

// indexFold is strings.Index for an ASCII substr in any case. Lower-casing s first would move its bytes: some letters have
// another length in lower case.
func indexFold(s, substr string) int {
	for i := 0; i+len(substr) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(substr)], substr) {
			return i
		}
	}
	return -1
}

func isTagStart(s string) bool {
	c := s[0]
	return c == '/' || c == '!' || c == '?' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// readTag reads a tag whose opening bracket is gone.
func readTag(s string) (t tag, rest string) {
	n := strings.IndexAny(s, " \t\r\n\f>")
	if n < 0 {
		return tag{name: strings.ToLower(s)}, ""
	}
	t = tag{name: strings.ToLower(strings.TrimSuffix(s[:n], "/")), attrs: map[string]string{}}
	s = s[n:]
	for {
		s = strings.TrimLeft(s, " \t\r\n\f/")
		if s == "" {
			return t, ""
		}
		if s[0] == '>' {
			return t, s[1:]
		}
		n := strings.IndexAny(s[1:], " \t\r\n\f/>=") + 1
		if n == 0 {
			return t, ""
		}
		name := strings.ToLower(s[:n])
		s = strings.TrimLeft(s[n:], " \t\r\n\f")
		value := ""
		if after, ok := strings.CutPrefix(s, "="); ok {
			value, s = attrValue(strings.TrimLeft(after, " \t\r\n\f"))
		}
		if _, ok := t.attrs[name]; !ok {
			t.attrs[name] = html.UnescapeString(value)
		}
	}
}

func attrValue(s string) (value, rest string) {
	if s == "" {
		return "", ""
	}
	if q := s[0]; q == '"' || q == '\'' {
		value, rest, _ = strings.Cut(s[1:], string(q))
		return value, rest
	}
	n := strings.IndexAny(s, " \t\r\n\f>")
	if n < 0 {
		return s, ""
	}
	return s[:n], s[n:]
}

// pageText is the visible text of a page on one line, for error messages; at most 1 KiB of it.
func pageText(page []byte) string {
	var words []string
	for rest := string(page); rest != ""; {
		var t tag
		t, rest = nextTag(rest)
		words = append(words, strings.Fields(html.UnescapeString(t.text))...)
	}
	return cut(strings.Join(words, " "), 1024)
}
