// Command sandbox is a DigitalOcean account on your own machine.
package main

import (
	"os"

	"github.com/seaway-deploy/seaway/sandbox/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args))
}
