package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/seaway-deploy/seaway/sandbox/internal/cleanup"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Client talks to the supervisor of a sandbox.
type Client struct {
	http     *http.Client
	settings settings.Settings
}

// NewClient connects at the first request.
func NewClient(s settings.Settings) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", Socket(s))
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial}}, s}
}

// ErrStopped means that no supervisor runs.
var ErrStopped = errors.New("the sandbox does not run; start it by `sandbox up`")

// Status is how every part is.
func (c *Client) Status(ctx context.Context) ([]Status, error) {
	var all []Status
	err := c.ask(ctx, http.MethodGet, "/status", func(body io.Reader) error { return json.NewDecoder(body).Decode(&all) })
	return all, err
}

// Follow calls see at every change until it returns false.
func (c *Client) Follow(ctx context.Context, see func([]Status) bool) error {
	return c.ask(ctx, http.MethodGet, "/follow", func(body io.Reader) error {
		lines := bufio.NewScanner(body)
		for lines.Scan() {
			var all []Status
			if err := json.Unmarshal(lines.Bytes(), &all); err != nil {
				return err
			}
			if !see(all) {
				return nil
			}
		}
		return errors.Join(lines.Err(), errors.New("the supervisor ended"))
	})
}

// Start asks for more parts; they are on the board when it returns. What has been built since the sandbox started is
// theirs too.
func (c *Client) Start(ctx context.Context, parts []string) error {
	if err := ownMissing(c.settings); err != nil {
		return fmt.Errorf("link what was built into %s: %w", c.settings.State, err)
	}
	query := url.Values{"part": parts}.Encode()
	return c.ask(ctx, http.MethodPost, "/start?"+query, func(io.Reader) error { return nil })
}

// Stop asks the supervisor to end; it does so a moment later.
func (c *Client) Stop(ctx context.Context) error {
	return c.ask(ctx, http.MethodPost, "/stop", func(io.Reader) error { return nil })
}

// Reset asks for the seeded state and waits for it.
func (c *Client) Reset(ctx context.Context) error {
	return c.ask(ctx, http.MethodPost, "/reset", func(io.Reader) error { return nil })
}

func (c *Client) ask(ctx context.Context, method, path string, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return ErrStopped
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		text, err := io.ReadAll(response.Body)
		return errors.Join(fmt.Errorf("the supervisor answers %s: %s", response.Status, strings.TrimSpace(string(text))), err)
	}
	return read(response.Body)
}

// Launch starts a supervisor in the background and gives a channel that tells its end.
func Launch(s settings.Settings, parts []string) (<-chan error, error) {
	binary, err := own(s)
	if err != nil {
		return nil, fmt.Errorf("link the sandbox's program into %s: %w", s.State, err)
	}
	log, err := os.OpenFile(s.Log("supervisor"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(binary, append([]string{SuperviseCommand}, parts...)...)
	command.Env = append(os.Environ(), "SANDBOX_STATE="+s.State, "SANDBOX_CACHE="+s.Cache, fmt.Sprintf("SANDBOX_NUMBER=%d", s.Number), cleanup.Mark)
	command.Dir = "/"
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	return ended, nil
}
