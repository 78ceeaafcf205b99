package digitalocean

import (
	"net/url"
	"strconv"

	"github.com/digitalocean/godo"
)

// The limits of a page.
const (
	defaultPerPage = 20
	maxPerPage     = 200
)

// list answers with one page of all items under a key, with the links to the other pages and the total.
func list[T any](c *call, key string, all []T) (reply, error) {
	page, err := c.pageNumber("page", 1)
	if err != nil {
		return reply{}, err
	}
	perPage, err := c.pageNumber("per_page", defaultPerPage)
	if err != nil {
		return reply{}, err
	}
	perPage = min(perPage, maxPerPage)
	from := min((page-1)*perPage, len(all))
	to := min(from+perPage, len(all))
	shown := append([]T{}, all[from:to]...) // an empty list is [] and not null
	last := max(1, (len(all)+perPage-1)/perPage)
	return ok(map[string]any{key: shown, "links": c.links(page, last), "meta": godo.Meta{Total: len(all)}})
}

// pageNumber reads a parameter that is a number from 1.
func (c *call) pageNumber(name string, otherwise int) (int, error) {
	text := c.query(name)
	if text == "" {
		return otherwise, nil
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 {
		return 0, unprocessable("%s must be a number from 1, not %q", name, text)
	}
	return number, nil
}

// links are the addresses of the neighbours that exist.
func (c *call) links(page, last int) godo.Links {
	if last == 1 && page == 1 {
		return godo.Links{}
	}
	pages := &godo.Pages{}
	if page > 1 {
		pages.First, pages.Prev = c.pageURL(1), c.pageURL(page-1)
	}
	if page < last {
		pages.Next, pages.Last = c.pageURL(page+1), c.pageURL(last)
	}
	return godo.Links{Pages: pages}
}

// pageURL is the address of another page of the same list, at the address that the client used.
func (c *call) pageURL(page int) string {
	query := c.request.URL.Query()
	query.Set("page", strconv.Itoa(page))
	address := url.URL{Scheme: "http", Host: c.request.Host, Path: c.request.URL.Path, RawPath: c.request.URL.RawPath, RawQuery: query.Encode()}
	if c.request.TLS != nil {
		address.Scheme = "https"
	}
	return address.String()
}
