// Records what Docker's own library makes of many `.dockerignore` files, for the test that compares Seaway's reader:
//
//	cd scripts/dockerignore && go run . > ../../src/docker/recorded.json
//
// The texts are written by hand and put together at random from a fixed seed, so that the same library gives the same
// file. The tree is walked as BuildKit's clients walk a context: with the verdict of the folder above, and without going
// into what is ignored and cannot be included again.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// tree is every path, folders before what is in them.
var tree = []string{
	"!a", "#c", ".dockerignore", ".git", ".git/HEAD", "Dockerfile", "README.md", "[x]", "a", "a*c", "a b", "a.b", "a/b",
	"a/b/c", "a/b/c/d", "a/b/c.b", "a/d", "a/d/b", "aa", "abc", "a{2}", "a|b", "b", "b.md", "b/a", "b/a/b", "b/c.md", "c",
	"c/b", "c/b/a", "c/b/a/c", "c/b/d", "docs", "docs/a.md", "docs/keep", "docs/keep/a.md", "docs/keep/b", "docs/x", "é",
	"é/a", "src", "src/a.b", "src/a.bc", "src/b", "src/b/a.b", "src/d", "src/d/README.md", "x-y", "{a,b}",
}

// written are the texts that somebody thought of.
var written = []string{
	"", "\n\n", "# nothing\n", " # c\n", "#c\n", "\\#c\n", "*\n", "**\n", "**/\n", "/**\n", "**/**\n", "*/*\n", "*/*/*\n", "/\n", ".\n", "./\n",
	"..\n", "../a\n", "a\n", "/a\n", "//a\n", "a/\n", "./a\n", "a/.\n", "a/b/..\n", "a/../b\n", "a//b\n", "\ufeffa\n", "a\r\nb\r\n",
	"a \n", "\ta\t\n", " a b \n", "a\n!a/b\n", "a\n!a/b/c\n", "!a\na\n", "a/b\n!a\n", "a/b\n!a/b\n", "*\n!a\n", "*\n!a/b\n", "*\n!a/b/c/d\n",
	"*\n!docs/keep\n", "*\n!docs/*\n", "*\n!docs/**\n", "*\n!**/*.md\n", "**\n!docs\n", "**\n!docs/keep\n", "**\n!*.md\n", "*\n!*/b\n",
	"docs\n!docs/keep\ndocs/keep/b\n", "docs/**\n!docs/keep\n", "docs/*\n!docs/keep\n", "**/b\n", "**/b/**\n", "a/**/c\n", "a/**\n",
	"**.md\n", "**/*.md\n", "*.md\n", "**b\n", "b**\n", "a**c\n", "a/**/\n", "**/a/**/c\n", "!\n", "! \n", "!/\n", "!.\n", "! a\n", "!!a\n",
	"./!a\n", "/!a\n", "\\!a\n", "a\n!!a\n", "*\n!./!a\n", "[\n", "[]\n", "[a\n", "[a-\n", "[-a]\n", "[]a]\n", "[^a]\n", "[!a]\n", "[a-c]\n",
	"[c-a]\n", "[a-c]*\n", "\\[x\\]\n", "[[]x]\n", "[*]\n", "[*]*\n", "[?]\n", "a[*]c\n", "[.]git\n", "[[:alpha:]]\n", "[[:alpha:]b]\n",
	"[a&&b]\n", "[a~~b]\n", "[a--b]\n", "[\\]]\n", "[\\\\-a]\n", "a\\\n", "\\a\n", "\\d\n", "\\w\n", "a\\*c\n", "a\\bc\n", "a?c\n", "?\n", "??\n",
	"a|b\n", "a|b*\n", "*|b\n", "|*\n", "a{2}\n", "a{2}*\n", "a{2,3}?\n", "a{,2}*\n", "*{2}\n", "{a,b}\n", "{a,b}*\n", "?{2}\n", "{2}*\n",
	"a{02}*\n", "a{1001}*\n", "a{3,2}*\n", "a{2}{2}*\n", "a^b*\n", "^a*\n", "a$*\n", "a.b*\n", "(a)*\n", "a+*\n", "é\n", "é*\n", "?/a\n", "\\é\n",
	"*\n!src\nsrc/b\n!src/b/a.b\n", "src/*\n!src/d\n", "src\n!src/d/README.md\n", "**/README.md\n!README.md\n", ".*\n", ".git\n", "**/.git\n",
	"*\n!a|b\n", "*\n!a{2}\n", "a\nb\n!a/b\n!b/a\na/b/c\n", "*\n!/a/b\n", "*\n!a/b/\n", "*\n!**\n", "*\n!*\n", "a/*\n!a/b/c\n", "a/*/c\n!a/b\n",
	"*\n!a/*/*\n", "*\n!a/*/*/*\n", "*\n!b*\n", "*\n!?/b\n", "*\n!a[/]b\n", "a[/]b\n", "a[^x]b\n", "docs/keep/a.md\n!docs\n",
}

// pieces are what random lines are made of; a wildcard is as likely as a name.
var pieces = []string{
	"a", "b", "c", "d", "src", "docs", "keep", "README", ".md", ".b", ".git", "x", "é", "/", "/", "/", "/", "*", "*", "**", "**/", "/**", "?",
	"[a-c]", "[^a]", "[", "]", "{", "}", "|", "\\", "\\*", "!", " ", ".", "..", "./", "{2}", "^", "$", "+", "(", ")", "-", "#",
}

// line is a random line.
func line(random *rand.Rand) string {
	var text strings.Builder
	if random.Intn(4) == 0 {
		text.WriteString("!")
	}
	for range 1 + random.Intn(5) {
		// Most pieces are ordinary, so that most lines mean something.
		limit := len(pieces)
		if random.Intn(3) > 0 {
			limit = 24
		}
		text.WriteString(pieces[random.Intn(limit)])
	}
	return text.String()
}

// kept is what a text leaves of the tree, as numbers; nil where the library refuses the text.
func kept(text string) []int {
	patterns, err := ignorefile.ReadAll(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		return nil
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil
	}
	verdicts := map[string]patternmatcher.MatchInfo{}
	left := []int{}
	for number, path := range tree {
		var above patternmatcher.MatchInfo
		if at := strings.LastIndex(path, "/"); at >= 0 {
			var walked bool
			if above, walked = verdicts[path[:at]]; !walked {
				continue
			}
		}
		ignored, verdict, err := matcher.MatchesUsingParentResults(path, above)
		if err != nil {
			return nil
		}
		if !ignored {
			left = append(left, number)
		}
		if !ignored || below(matcher, path) {
			verdicts[path] = verdict
		}
	}
	return left
}

// below says whether something in an ignored folder is looked at all the same.
func below(matcher *patternmatcher.PatternMatcher, folder string) bool {
	if !matcher.Exclusions() {
		return false
	}
	start := func(p *patternmatcher.Pattern) string {
		return strings.TrimSuffix(strings.TrimSuffix(p.String(), "/**"), "/*")
	}
	for _, pattern := range matcher.Patterns() {
		if pattern.Exclusion() && strings.ContainsAny(start(pattern), `*[]?^\`) {
			return true // all folders are
		}
	}
	for _, pattern := range matcher.Patterns() {
		if pattern.Exclusion() && strings.HasPrefix(start(pattern)+"/", folder+"/") {
			return true
		}
	}
	return false
}

func main() {
	random := rand.New(rand.NewSource(1))
	texts := append([]string{}, written...)
	for range 900 {
		var lines []string
		for range 1 + random.Intn(4) {
			lines = append(lines, line(random))
		}
		texts = append(texts, strings.Join(lines, "\n"))
	}
	cases := map[string][]int{}
	for _, text := range texts {
		cases[text] = kept(text)
	}
	keys := make([]string, 0, len(cases))
	for text := range cases {
		keys = append(keys, text)
	}
	sort.Strings(keys)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	quoted := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		return string(text)
	}
	fmt.Fprintf(out, "{\n\"library\": \"github.com/moby/patternmatcher v0.6.1\",\n\"tree\": %s,\n\"cases\": {\n", quoted(tree))
	for number, text := range keys {
		comma := ","
		if number == len(keys)-1 {
			comma = ""
		}
		fmt.Fprintf(out, "%s: %s%s\n", quoted(text), quoted(cases[text]), comma)
	}
	fmt.Fprint(out, "}\n}\n")
}
