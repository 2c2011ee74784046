// Every unit test: `npm test` makes one file of them.
import "./format.test";
import "./words.test";
import "./route.test";
import "./troubles.test";
import "./map.test";
import "./stream.test";
