// Package components links the stock programs that the sandbox runs, so that one binary is all of them.
//
// `sandbox component NAME FLAGS…` behaves as the program NAME would: nothing here changes a flag or a default.
package components

import (
	"context"
	"fmt"
	"os"
	"sort"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/template"
	crane "github.com/google/go-containerregistry/cmd/crane/cmd"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // the json log format
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // version metric
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// programs maps a name to a function that runs it with os.Args already set and returns its exit code.
var programs = map[string]func() int{
	"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver":          command(func() *cobra.Command { return apiserver.NewAPIServerCommand() }),
	"kube-controller-manager": command(func() *cobra.Command { return controllermanager.NewControllerManagerCommand() }),
	"kube-scheduler":          command(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubelet":                 command(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"kube-proxy":              command(func() *cobra.Command { return proxy.NewProxyCommand() }),
	"kubectl":                 command(kubectl.NewDefaultKubectlCommand),
	"crane":                   runCrane,
	"coredns":                 func() int { coremain.Run(); return 0 },
}

func init() {
	// The order in which CoreDNS chains the plug-ins that are linked in: its own plugin.cfg order, cut to
	// those, but for template: after kubernetes, so that it answers what is left.
	dnsserver.Directives = []string{"reload", "ready", "health", "errors", "cache", "loop", "kubernetes", "template", "forward"}
}

func command(build func() *cobra.Command) func() int {
	return func() int { return cli.Run(build()) }
}

// runCrane runs crane as its own main does: Kubernetes' runner would give it flags that it has already.
func runCrane() int {
	if crane.Root.Execute() != nil { // it has told the cause
		return 1
	}
	return 0
}

// Names lists the programs, sorted.
func Names() []string {
	names := make([]string, 0, len(programs))
	for name := range programs {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Run becomes the program args[0] with the rest as its flags, and returns its exit code.
func Run(args []string) int {
	if len(args) == 0 || programs[args[0]] == nil {
		fmt.Fprintf(os.Stderr, "sandbox component: name one of %v\n", Names())
		return 2
	}
	os.Args = args
	return programs[args[0]]()
}
