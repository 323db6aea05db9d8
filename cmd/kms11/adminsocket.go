package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/api"
)

// maxAdminAnswer bounds what is read of an answer that is printed as it is.
const maxAdminAnswer = 64 << 20

// askAdmin asks the server that runs on a data directory over its admin socket: a GET, or a POST of
// request if there is one. The caller closes the body of the answer, whatever its status.
func askAdmin(data, path string, request any) (*http.Response, error) {
	p, err := pathsOf(data)
	if err != nil {
		return nil, err
	}
	client, url := api.AdminClient(p.adminSocket), "http://kms11"+path
	var response *http.Response
	if request == nil {
		response, err = client.Get(url)
	} else {
		body, failed := json.Marshal(request)
		if failed != nil {
			return nil, failed
		}
		response, err = client.Post(url, "application/json", bytes.NewReader(body))
	}
	if err != nil {
		return nil, fmt.Errorf("no server answers on %s: start kms11 serve with the same data directory", p.adminSocket)
	}
	return response, nil
}

// answerOf sends a request to the running server and gives its answer, or as an error the api.AdminError
// that it answers with. The caller closes the body of the answer.
func answerOf(c *cli.Context, path string, request any) (*http.Response, error) {
	config, err := settings(c)
	if err != nil {
		return nil, err
	}
	response, err := askAdmin(config.Data, path, request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, adminFault(response)
	}
	return response, nil
}

// postAdmin sends a request to the running server and reads its answer.
func postAdmin(c *cli.Context, path string, request, answer any) error {
	response, err := answerOf(c, path, request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(answer)
}

// adminFault is the api.AdminError of an answer that is not 200.
func adminFault(response *http.Response) error {
	var fault api.AdminError
	if err := json.NewDecoder(response.Body).Decode(&fault); err != nil {
		return fmt.Errorf("the server answered %s", response.Status)
	}
	return errors.New(fault.Message)
}

// printAdmin sends a request to the running server and prints what it answers, if that says anything.
func printAdmin(c *cli.Context, path string, request any) error {
	response, err := answerOf(c, path, request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAdminAnswer))
	if err != nil {
		return err
	}
	answer = bytes.TrimSpace(answer)
	if string(answer) == "{}" {
		return nil
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, answer, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, indented.String())
	return err
}
