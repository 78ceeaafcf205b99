package cluster

// The supervisor and the node's init speak in JSON lines: orders down the init's standard input, news up its standard
// output. The end of standard input means that the supervisor is gone, and the init ends with it.

// world is the first line that the init reads: what to make of the fresh namespaces.
type world struct {
	State    string            `json:"state"`    // the sandbox's state folder: the only one that stays writable
	Hostname string            `json:"hostname"` // also the node's name
	NodeIP   string            `json:"node_ip"`
	Sysctls  map[string]string `json:"sysctls"` // path of a sysctl to the file that covers it
}

// program is an order: keep this program running.
type program struct {
	Name string   `json:"name"`
	Path string   `json:"path"`
	Args []string `json:"args"` // with the program's own name first
	Log  string   `json:"log"`
}

// news is what the init tells.
type news struct {
	Kind   string `json:"kind"`             // "world" when the namespaces are prepared, "started", "exited", "failed"
	Name   string `json:"name,omitempty"`   // the program
	PID    int    `json:"pid,omitempty"`    // as seen inside
	Detail string `json:"detail,omitempty"` // how it ended, or why it failed
}

const (
	newsWorld   = "world"
	newsStarted = "started"
	newsExited  = "exited"
	newsFailed  = "failed"
)
