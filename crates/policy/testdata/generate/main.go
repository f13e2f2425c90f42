// Records what Go's libraries make of the cases of one file, read from standard input. See README.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"text/template"

	"github.com/Masterminds/semver/v3"
	"github.com/Masterminds/sprig/v3"
)

func main() {
	kinds := map[string]func(*bufio.Scanner, *json.Encoder) error{
		"constraints": constraints, "regexes": regexes, "templates": templates,
	}
	if len(os.Args) != 2 || kinds[os.Args[1]] == nil {
		fail(fmt.Errorf("usage: go run . constraints|regexes|templates < FILE"))
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	if err := kinds[os.Args[1]](lines, out); err != nil {
		fail(err)
	}
	if err := lines.Err(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// first reads the list of texts in the first line and writes it again.
func first(lines *bufio.Scanner, out *json.Encoder) (texts []string, err error) {
	if !lines.Scan() {
		return nil, fmt.Errorf("the input is empty")
	}
	if err := json.Unmarshal(lines.Bytes(), &texts); err != nil {
		return nil, err
	}
	return texts, out.Encode(texts)
}

func constraints(lines *bufio.Scanner, out *json.Encoder) error {
	texts, err := first(lines, out)
	if err != nil {
		return err
	}
	var versions []*semver.Version
	for _, text := range texts {
		version, err := semver.NewVersion(text)
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		versions = append(versions, version)
	}
	for lines.Scan() {
		var item struct {
			Constraint string  `json:"constraint"`
			Matches    *string `json:"matches"`
		}
		if err := json.Unmarshal(lines.Bytes(), &item); err != nil {
			return err
		}
		item.Matches = nil
		if constraint, err := semver.NewConstraint(item.Constraint); err == nil {
			var matches strings.Builder
			for _, version := range versions {
				if constraint.Check(version) {
					matches.WriteByte('1')
				} else {
					matches.WriteByte('0')
				}
			}
			text := matches.String()
			item.Matches = &text
		}
		if err := out.Encode(item); err != nil {
			return err
		}
	}
	return nil
}

func regexes(lines *bufio.Scanner, out *json.Encoder) error {
	texts, err := first(lines, out)
	if err != nil {
		return err
	}
	for lines.Scan() {
		var item struct {
			Pattern string `json:"pattern"`
			Extract string `json:"extract"`
			Result  string `json:"result"`
		}
		if err := json.Unmarshal(lines.Bytes(), &item); err != nil {
			return err
		}
		if expression, err := regexp.Compile(item.Pattern); err != nil {
			item.Result = err.Error()
		} else {
			item.Result = matched(expression, item.Extract, texts)
		}
		if err := out.Encode(item); err != nil {
			return err
		}
	}
	return nil
}

func matched(expression *regexp.Regexp, extract string, texts []string) string {
	var result strings.Builder
	for _, text := range texts {
		found := expression.FindStringSubmatchIndex(text)
		if found == nil {
			result.WriteByte('-')
			continue
		}
		result.WriteByte('[')
		result.Write(expression.ExpandString(nil, extract, text, found))
		result.WriteByte(']')
	}
	return result.String()
}

func templates(lines *bufio.Scanner, out *json.Encoder) error {
	for lines.Scan() {
		var item struct {
			Template string  `json:"template"`
			Message  *string `json:"message"`
			Empty    bool    `json:"empty,omitempty"`
		}
		if err := json.Unmarshal(lines.Bytes(), &item); err != nil {
			return err
		}
		item.Message = message(item.Template, item.Empty)
		if err := out.Encode(item); err != nil {
			return err
		}
	}
	return nil
}

func message(source string, empty bool) *string {
	parsed, err := template.New("commit").Funcs(sprig.HermeticTxtFuncMap()).Parse(source)
	if err != nil {
		return nil
	}
	var text strings.Builder
	if err := parsed.Execute(&text, example(empty)); err != nil {
		return nil
	}
	result := text.String()
	return &result
}
