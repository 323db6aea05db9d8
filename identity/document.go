package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds what a policy's YAML unfolds to: a name can stand for much.
const maxNodes = 20_000

// document gives a policy as JSON. In a file it is written as YAML, which JSON is too, or as a string
// that holds JSON. Members keep their order; one that is there twice is refused. What YAML takes for a
// date, such as the Version of a policy, stays the text that it is.
func document(node *yaml.Node) (json.RawMessage, error) {
	if node.IsZero() {
		return nil, errors.New("it is missing")
	}
	if node.Kind == yaml.ScalarNode && node.Tag == "!!str" {
		if !json.Valid([]byte(node.Value)) {
			return nil, errors.New("the text is not JSON")
		}
		return json.RawMessage(node.Value), nil
	}
	var out bytes.Buffer
	budget := maxNodes
	if err := write(&out, node, &budget); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func write(out *bytes.Buffer, node *yaml.Node, budget *int) error {
	if *budget--; *budget < 0 {
		return errors.New("it is too large")
	}
	switch node.Kind {
	case yaml.AliasNode:
		return write(out, node.Alias, budget)
	case yaml.MappingNode:
		return writeMapping(out, node, budget)
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, member := range node.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := write(out, member, budget); err != nil {
				return err
			}
		}
		out.WriteByte(']')
		return nil
	case yaml.ScalarNode:
		return writeScalar(out, node)
	}
	return errors.New("it is no YAML value")
}

func writeMapping(out *bytes.Buffer, node *yaml.Node, budget *int) error {
	seen := make(map[string]bool)
	out.WriteByte('{')
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			return fmt.Errorf("line %d: a key that is no text", key.Line)
		}
		if seen[key.Value] {
			return fmt.Errorf("line %d: %s is there twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		if i > 0 {
			out.WriteByte(',')
		}
		if err := writeText(out, key.Value); err != nil {
			return err
		}
		out.WriteByte(':')
		if err := write(out, node.Content[i+1], budget); err != nil {
			return err
		}
	}
	out.WriteByte('}')
	return nil
}

func writeScalar(out *bytes.Buffer, node *yaml.Node) error {
	switch node.Tag {
	case "!!bool":
		var b bool
		if err := node.Decode(&b); err != nil {
			return err
		}
		fmt.Fprint(out, b)
		return nil
	case "!!int", "!!float":
		// A number that JSON writes in the same way stays one; others, such as 0x10, are texts here.
		if json.Valid([]byte(node.Value)) {
			out.WriteString(node.Value)
			return nil
		}
	case "!!null":
		return fmt.Errorf("line %d: a value is missing", node.Line)
	}
	return writeText(out, node.Value)
}

func writeText(out *bytes.Buffer, text string) error {
	encoded, err := json.Marshal(text)
	out.Write(encoded)
	return err
}
