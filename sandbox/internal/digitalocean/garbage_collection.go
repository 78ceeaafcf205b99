package digitalocean

import (
	"context"
	"net/http"
	"slices"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// settleGarbage moves the collections on whose time has come; one that succeeds has collected for real: manifests and
// blobs are gone. It is called before anything that depends on whether one is active.
func (s *server) settleGarbage(ctx context.Context) error {
	s.collecting.Lock() // two calls at once must not collect twice
	defer s.collecting.Unlock()
	now := s.account.Now()
	for _, running := range copyOf(s, func(state *account.State) []account.GarbageCollection { return state.GarbageCollections }) {
		status, since, left := running.Due(now)
		if status == running.Status {
			continue
		}
		blobs, bytes := 0, int64(0)
		if status == account.GarbageSucceeded {
			var err error
			blobs, bytes, err = s.content.Collect(ctx, running.RegistryName,
				running.Type != godo.GCTypeUnreferencedBlobsOnly, running.Type != godo.GCTypeUntaggedManifestsOnly)
			if err != nil {
				return err
			}
		}
		if err := s.changeGarbage(running.UUID, func(gc *account.GarbageCollection) {
			gc.Status, gc.UpdatedAt, gc.Stages = status, since, left
			gc.BlobsDeleted, gc.FreedBytes = uint64(blobs), uint64(max(0, bytes))
		}); err != nil {
			return err
		}
	}
	return nil
}

// changeGarbage changes one collection.
func (s *server) changeGarbage(uuid string, change func(*account.GarbageCollection)) error {
	return s.account.Change(func(state *account.State) error {
		at := slices.IndexFunc(state.GarbageCollections, func(gc account.GarbageCollection) bool { return gc.UUID == uuid })
		if at < 0 {
			return errNotFound
		}
		change(&state.GarbageCollections[at])
		return nil
	})
}

// garbageCollections lists those of a registry, the newest first.
func (s *server) garbageCollections(ctx context.Context, registry string) ([]account.GarbageCollection, error) {
	if err := s.settleGarbage(ctx); err != nil {
		return nil, err
	}
	all := copyOf(s, func(state *account.State) []account.GarbageCollection { return state.GarbageCollections })
	all = slices.DeleteFunc(all, func(gc account.GarbageCollection) bool { return gc.RegistryName != registry })
	slices.Reverse(all)
	return all, nil
}

// activeGarbage finds the collection that runs in a registry, or nil.
func (s *server) activeGarbage(ctx context.Context, registry string) (*account.GarbageCollection, error) {
	all, err := s.garbageCollections(ctx, registry)
	if at := slices.IndexFunc(all, func(gc account.GarbageCollection) bool { return gc.Active() }); at >= 0 {
		return &all[at], err
	}
	return nil, err
}

// startGarbageCollection begins one; from now on nothing can be pushed until it ends.
func (s *server) startGarbageCollection(c *call) (reply, error) {
	registry, err := s.registry(c)
	if err != nil {
		return reply{}, err
	}
	request := godo.StartGarbageCollectionRequest{Type: godo.GCTypeUnreferencedBlobsOnly}
	if len(c.body) > 0 {
		if err := c.decode(&request); err != nil {
			return reply{}, err
		}
	}
	known := []godo.GarbageCollectionType{
		godo.GCTypeUnreferencedBlobsOnly, godo.GCTypeUntaggedManifestsOnly, godo.GCTypeUntaggedManifestsAndUnreferencedBlobs,
	}
	if !slices.Contains(known, request.Type) {
		return reply{}, unprocessable("invalid garbage collection type %q", request.Type)
	}
	if active, err := s.activeGarbage(c.request.Context(), registry.Name); active != nil || err != nil {
		return reply{}, orElse(err, &failure{http.StatusConflict, "conflict", "a garbage collection is already active"})
	}
	now := s.account.Now()
	made := account.GarbageCollection{
		GarbageCollection: godo.GarbageCollection{
			UUID: account.NewID(), RegistryName: registry.Name, Status: account.GarbageRequested, Type: request.Type, CreatedAt: now, UpdatedAt: now,
		},
		Stages: account.PlanGarbage(now, request.Type, s.account.Switches()),
	}
	err = s.account.Change(func(state *account.State) error {
		state.GarbageCollections = append(state.GarbageCollections, made)
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return created(root("garbage_collection", made.GarbageCollection))
}

// orElse is the first error, or the other one if there is none.
func orElse(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// getGarbageCollection answers with the one that runs; 404 when none does.
func (s *server) getGarbageCollection(c *call) (reply, error) {
	registry, err := s.registry(c)
	if err != nil {
		return reply{}, err
	}
	active, err := s.activeGarbage(c.request.Context(), registry.Name)
	if active == nil || err != nil {
		return reply{}, orElse(err, errNotFound)
	}
	return ok(root("garbage_collection", active.GarbageCollection))
}

// listGarbageCollections lists all, the newest first.
func (s *server) listGarbageCollections(c *call) (reply, error) {
	registry, err := s.registry(c)
	if err != nil {
		return reply{}, err
	}
	all, err := s.garbageCollections(c.request.Context(), registry.Name)
	if err != nil {
		return reply{}, err
	}
	wires := []godo.GarbageCollection{}
	for _, gc := range all {
		wires = append(wires, gc.GarbageCollection)
	}
	return list(c, "garbage_collections", wires)
}

// cancelGarbageCollection ends the one that runs before it has removed anything. It is `cancelling` for a while, in which
// nothing can be pushed yet.
func (s *server) cancelGarbageCollection(c *call) (reply, error) {
	registry, err := s.registry(c)
	if err != nil {
		return reply{}, err
	}
	var request godo.UpdateGarbageCollectionRequest
	if err := c.decode(&request); err != nil {
		return reply{}, err
	}
	if !request.Cancel {
		return reply{}, unprocessable("cancel must be true: nothing else can be done with a garbage collection")
	}
	active, err := s.activeGarbage(c.request.Context(), registry.Name)
	if active == nil || err != nil || active.UUID != c.path("uuid") {
		return reply{}, orElse(err, errNotFound)
	}
	now := s.account.Now()
	active.Stages = account.CancelGarbage(now, s.account.Switches())
	active.Status, active.UpdatedAt, active.Stages = active.Due(now)
	if err := s.changeGarbage(active.UUID, func(gc *account.GarbageCollection) { *gc = *active }); err != nil {
		return reply{}, err
	}
	return ok(root("garbage_collection", active.GarbageCollection))
}
