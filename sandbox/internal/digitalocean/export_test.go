package digitalocean

// RouteOfTest is what tests see of a route.
type RouteOfTest struct {
	Pattern string
	Scopes  []string
}

// RoutesOfTest lists all routes.
func RoutesOfTest() (all []RouteOfTest) {
	for _, route := range routes {
		all = append(all, RouteOfTest{route.pattern, route.scopes})
	}
	return all
}
