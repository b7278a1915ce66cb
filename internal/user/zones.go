package user

import (
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // zones are the same on every machine, containers without zone files included

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
)

// TimeZoneAttribute is the attribute in which a person's own time zone is kept, as an IANA name.
const TimeZoneAttribute = "timezone"

// ZoneSource says what a person's candidate time zones were derived from.
type ZoneSource string

// The sources of time zones.
const (
	ZonesUnknown       ZoneSource = ""          // no candidates
	ZonesFromAttribute ZoneSource = "attribute" // stated: one zone
	ZonesFromNumber    ZoneSource = "number"    // derived from the number: one or more candidates
)

var locations sync.Map // name → *time.Location; LoadLocation reads and parses anew each time

// LoadZone returns the zone of an IANA name such as Asia/Colombo or UTC. The empty name and "Local" are refused: they
// would mean the server's zone.
func LoadZone(name string) (*time.Location, error) {
	if cached, ok := locations.Load(name); ok {
		return cached.(*time.Location), nil
	}
	if name == "" || strings.EqualFold(name, "local") {
		return nil, unknownZone()
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, unknownZone()
	}
	locations.Store(name, location) // bounded by the zone database: unknown names are not kept
	return location, nil
}

func unknownZone() error {
	return fault.Refuse(TimeZoneAttribute, "must be an IANA time zone such as Asia/Colombo")
}

// ResolveZones returns the zones a person may be in: the one they state when it is valid, else those of their number,
// else none.
func ResolveZones(attributes Attributes, number phone.Number) ([]string, ZoneSource) {
	if stated, ok := attributes[TimeZoneAttribute].(string); ok {
		if zone, err := LoadZone(strings.TrimSpace(stated)); err == nil {
			return []string{zone.String()}, ZonesFromAttribute
		}
	}
	if zones := phone.Zones(number); len(zones) > 0 {
		return zones, ZonesFromNumber
	}
	return nil, ZonesUnknown
}
