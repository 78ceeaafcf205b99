package account

import (
	"time"

	"github.com/digitalocean/godo"
)

// GarbageCollection is a garbage collection of a registry and what the sandbox alone knows of it.
type GarbageCollection struct {
	godo.GarbageCollection
	EndsAt time.Time `json:"sandbox_ends_at"`
}
