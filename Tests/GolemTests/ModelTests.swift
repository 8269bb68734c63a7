import Golem
import Testing

@Suite("Offers, demands and commands")
struct ModelTests {
    private let properties: [String: JSON] = [
        "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
        "golem.com.pricing.model": "linear", "golem.com.pricing.model.linear.coeffs": [0.0001, 0.0002, 0.5],
        "golem.inf.cpu.threads": 4, "golem.inf.mem.gib": "8.5", "golem.node.id.name": "lab",
        "golem.com.payment.platform.erc20-hoodi-tglm.address": "0x1",
    ]

    @Test("constraints have no blanks and nothing that silently matches nothing")
    func constraints() throws {
        let constraint = Constraint.all([
            .equal("golem.runtime.name", "vm"), .atLeast("golem.inf.mem.gib", 0.5), .atLeast("golem.inf.cpu.cores", 2),
            .any([.present("a"), .not(.equal("flag", true))]), .verbatim("(x>1)"),
        ])
        #expect(
            try constraint.checked().text
                == "(&(golem.runtime.name=vm)(golem.inf.mem.gib>=0.5)(golem.inf.cpu.cores>=2)(|(a=*)(!(flag=true)))(x>1))"
        )
        #expect(Constraint.none.text == "()" && Constraint.all([.present("a")]).text == "(a=*)")
    }

    @Test(
        "a constraint that would match nothing is refused",
        arguments: [
            Constraint.equal("", "x"), .equal("a b", "x"), .equal("a", ""), .equal("a", " x"), .equal("a", "x)"),
            .equal("a=", "x"), .verbatim("a=1"), .verbatim("(a=1"), .all([.not(.equal("a", "\n"))]),
        ])
    func badConstraints(constraint: Constraint) {
        #expect(throws: GolemError.self) { try constraint.checked() }
    }

    @Test("prices are read in the order of the usage vector")
    func prices() throws {
        var swapped = properties
        swapped["golem.com.usage.vector"] = ["golem.usage.cpu_sec", "golem.usage.duration_sec"]
        let price = try #require(Offer(properties: properties).price)
        let other = try #require(Offer(properties: swapped).price)
        #expect(price.perSecond == 0.0001 && price.perCPUSecond == 0.0002 && price.start == 0.5)
        #expect(other.perSecond == 0.0002 && other.perCPUSecond == 0.0001)
        #expect(abs(price.perHour(threads: 4) - 3.24) < 1e-9)
        #expect(price.cost(usage: [10, 20]) == 0.505 && price.cost(usage: [1]) == nil)
    }

    @Test("an offer beyond a limit, or one that cannot be judged, is refused with the reason")
    func limits() {
        let offer = Offer(properties: properties)
        #expect(PriceLimits(perHour: 4, perCPUHour: 1, start: 1).objection(to: offer) == nil)
        #expect(PriceLimits(perHour: 3).objection(to: offer)?.contains("3.24") == true)
        #expect(PriceLimits(perCPUHour: 0.7).objection(to: offer) != nil)
        #expect(PriceLimits(start: 0.4).objection(to: offer) != nil)
        for (key, value) in [
            ("golem.com.pricing.model", "stepwise"), ("golem.com.usage.vector", ["golem.usage.duration_sec"]),
            ("golem.com.pricing.model.linear.coeffs", [0.1, -1, 0]),
            ("golem.com.usage.vector", ["golem.usage.duration_sec", "golem.usage.gib"]),
        ] as [(String, JSON)] {
            var changed = properties
            changed[key] = value
            #expect(PriceLimits().objection(to: Offer(properties: changed)) != nil, "\(key) = \(value)")
        }
    }

    @Test("typed properties")
    func offer() {
        let offer = Offer(properties: properties)
        #expect(offer.threads == 4 && offer.memoryGiB == 8.5 && offer.nodeName == "lab")
        #expect(offer.paymentPlatforms == ["erc20-hoodi-tglm"])
    }

    @Test("an image is named by hash and address")
    func package() throws {
        let hash = String(repeating: "aB", count: 28)
        #expect(
            try TaskPackage(url: "gftp://0x1/a", sha3: hash).description
                == "hash:sha3:\(hash.lowercased()):gftp://0x1/a")
        #expect(throws: GolemError.self) { try TaskPackage(url: "gftp://0x1/a", sha3: "abc") }
        #expect(throws: GolemError.self) { try TaskPackage(url: "ftp://0x1/a", sha3: hash) }
    }

    @Test("commands are written as the daemon reads them")
    func commands() {
        #expect(Command.deploy.json.description == #"{"deploy":{}}"#)
        #expect(Command.start().json.description == #"{"start":{"args":[]}}"#)
        #expect(
            Command.run("/bin/x", arguments: ["a"], stdout: .tail(10), stderr: .discard).json.description
                == #"{"run":{"args":["a"],"capture":{"stdout":{"atEnd":{"tail":10}}},"entry_point":"/bin/x"}}"#)
        #expect(
            Command.transfer(from: "gftp://n/f", to: Command.inMachine("/golem/x")).json.description
                == #"{"transfer":{"from":"gftp://n/f","to":"container:/golem/x"}}"#)
    }

    @Test("results: text or bytes, and the exit code from the message")
    func results() throws {
        let result = try CommandResult([
            "index": 1, "result": "Error", "stdout": [104, 105], "message": "ExeScript command exited with code 137",
            "isBatchFinished": true, "eventDate": "2026-11-23T19:29:18.567997Z",
        ])
        #expect(!result.succeeded && result.stdout == "hi" && result.exitCode == 137 && result.stderr == nil)
        let busy = try CommandResult(["index": 0, "result": "Error", "message": "Busy: StatePair(Ready, None)"])
        #expect(busy.exitCode == nil)
        #expect(throws: GolemError.self) { try CommandResult(["result": "Ok"]) }
    }

    @Test("an event stream is cut at blank lines, whatever the pieces are")
    func eventStream() throws {
        let text = ":ping\n\nevent: runtime\ndata: {\"index\":0}\nid: 1\n\ndata: a\r\ndata: b\r\n\r\ndata: rest"
        for size in 1..<20 {
            var parser = EventStreamParser()
            var events: [String] = []
            let bytes = Array(text.utf8)
            for start in stride(from: 0, to: bytes.count, by: size) {
                events += try parser.feed(bytes[start..<min(start + size, bytes.count)]).map {
                    String(decoding: $0, as: UTF8.self)
                }
            }
            #expect(events == ["{\"index\":0}", "a\nb"])
        }
    }

    @Test("an activity's state may lack its second part")
    func state() throws {
        let state = try ActivityState(["state": ["Terminated", nil], "reason": "died", "errorMessage": "code 1"])
        #expect(state.current == .terminated && state.pending == nil && state.isOver && state.reason == "died")
        #expect(try ActivityState(["state": ["Odd"]]).current == .other("Odd"))
    }
}
