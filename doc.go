// Package enrollkit is the root of the module; its packages take a computer from "bought" to "ready for its user" without anyone touching it.
package enrollkit
