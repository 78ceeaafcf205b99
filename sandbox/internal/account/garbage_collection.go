package account

import (
	"time"

	"github.com/digitalocean/godo"
)

// The statuses of a garbage collection, in their order:
// https://docs.digitalocean.com/reference/api/digitalocean/#tag/Container-Registries
const (
	GarbageRequested  = "requested"
	GarbageWaiting    = "waiting for write JWTs to expire"
	GarbageScanning   = "scanning manifests"
	GarbageDeleting   = "deleting unreferenced blobs"
	GarbageCancelling = "cancelling"
	GarbageFailed     = "failed"
	GarbageSucceeded  = "succeeded"
	GarbageCancelled  = "cancelled"
)

// GarbageCollection is a garbage collection of a registry and what the sandbox alone knows of it.
type GarbageCollection struct {
	godo.GarbageCollection
	Stages []GarbageStage `json:"sandbox_stages"` // what it still goes through, in order
}

// GarbageStage is a status and when it begins.
type GarbageStage struct {
	Status string    `json:"status"`
	Begins time.Time `json:"begins"`
}

// Active says whether the collection is not over: nothing can be pushed meanwhile.
func (gc GarbageCollection) Active() bool {
	return gc.Status != GarbageFailed && gc.Status != GarbageSucceeded && gc.Status != GarbageCancelled
}

// PlanGarbage lays out what a collection that begins now goes through. Its time is that of the switch, in the shares
// that are told by those who watched: most of it is waiting. A collection of blobs alone scans too, since only the
// manifests tell which blobs are needed.
func PlanGarbage(now time.Time, kind godo.GarbageCollectionType, switches Switches) []GarbageStage {
	whole := switches.GarbageCollection.Duration()
	at := func(percent int) time.Time { return now.Add(whole * time.Duration(percent) / 100) }
	stages := []GarbageStage{{GarbageRequested, now}, {GarbageWaiting, at(10)}, {GarbageScanning, at(50)}}
	if kind != godo.GCTypeUntaggedManifestsOnly {
		stages = append(stages, GarbageStage{GarbageDeleting, at(75)})
	}
	end := GarbageStage{GarbageSucceeded, at(100)}
	if switches.GarbageCollectionFails {
		end.Status = GarbageFailed
	}
	stages = append(stages, end)
	for i, stage := range stages {
		if stage.Status == switches.GarbageCollectionStuck {
			return stages[:i+1]
		}
	}
	return stages
}

// CancelGarbage lays out the end of a collection that is cancelled now.
func CancelGarbage(now time.Time, switches Switches) []GarbageStage {
	return []GarbageStage{
		{GarbageCancelling, now}, {GarbageCancelled, now.Add(switches.GarbageCollectionCancel.Duration())},
	}
}

// Due is the status that the collection has now, and the stages that are left after it.
func (gc GarbageCollection) Due(now time.Time) (status string, since time.Time, left []GarbageStage) {
	status, since, left = gc.Status, gc.UpdatedAt, gc.Stages
	for len(left) > 0 && !now.Before(left[0].Begins) {
		status, since, left = left[0].Status, left[0].Begins, left[1:]
	}
	return status, since, left
}
