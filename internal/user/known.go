package user

// KnownAttribute is an attribute that people have.
type KnownAttribute struct {
	Name   string   // a path: address.city
	Types  []string // JSON's names of the types of its values: string, number, boolean, array
	People int      // of those looked at, how many have it
	Values []string // its texts, when there are few; else nil
}
