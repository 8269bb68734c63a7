import Foundation
import Golem
import Testing

@Suite("What a plan asks for beside size and price")
struct DemandTests {
    private static let hash = String(repeating: "ab", count: 28)

    @Test("a manifest names image, addresses and protocols; in base64 it is what a provider reads")
    func manifest() throws {
        let package = try TaskPackage(url: "http://host/image.gvmi", sha3: Self.hash)
        var access = OutboundAccess.urls(["https://api.example.com", "wss://stream.example.com/x"])
        access.created = try #require(Timestamp("2026-11-22T10:15:00Z"))
        let manifest = try Manifest(image: package, outbound: access)
        let bytes = try #require(Data(base64Encoded: manifest.base64))
        let json = try #require(JSON(parsing: Array(bytes)))
        #expect(json["version"]?.string == "0.1.0")
        #expect(json["createdAt"]?.timestamp == access.created)
        let payload = try #require(json["payload"]?.array?.first)
        #expect(payload["hash"]?.string == "sha3:" + Self.hash)
        #expect(payload["urls"]?.strings == ["http://host/image.gvmi"])
        let out = try #require(json["compManifest"]?["net"]?["inet"]?["out"])
        #expect(out["urls"]?.strings == ["https://api.example.com", "wss://stream.example.com/x"])
        #expect(out["protocols"]?.strings == ["https", "wss"])
        let open = try #require(JSON(parsing: Array(try Manifest(image: package, outbound: .unrestricted).text.utf8)))
        let everywhere = open["compManifest"]?["net"]?["inet"]?["out"]
        #expect(everywhere?["unrestricted"]?["urls"]?.bool == true && everywhere?["urls"] == nil)
    }

    @Test("addresses that no manifest may hold, and half a signature, are refused")
    func refused() throws {
        let package = try TaskPackage(url: "http://host/image.gvmi", sha3: Self.hash)
        for url in ["", "host", "ftp://host", "https://", "https:///", "https://a b", "https:host", "https://h\u{e4}"] {
            #expect(throws: GolemError.self, "\(url)") { try Manifest(image: package, outbound: .urls([url])) }
        }
        #expect(throws: GolemError.self) { try Manifest(image: package, outbound: .urls([])) }
        #expect(throws: GolemError.self) { try Manifest(text: "not JSON") }
        #expect(throws: GolemError.self) { try Manifest(text: "[]") }
        #expect(throws: GolemError.self) { try Manifest(text: "{}", signature: "c2ln") }
    }

    /// Rents once and returns the demands that were published.
    private func demands(_ change: (inout RentalPlan) throws -> Void) async throws -> [JSON] {
        let network = FakeNetwork(providers: 1)
        let seen = Recorder<JSON>()
        let folder = NSTemporaryDirectory() + "golem-demand-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let script: ScriptedServer.Script = { request in
            if request.line == "POST /market-api/v1/demands" || request.path.contains("/proposals/") {
                seen.add(request.body)
            }
            return await network.script(request)
        }
        try await ScriptedServer.with(script) { client, _ in
            var plan = RentalPlan(
                image: .url("http://host/image.gvmi", sha3: Self.hash), budget: 1,
                priceLimits: PriceLimits(perHour: 100), ledgerFolder: folder, environment: [:])
            plan.patience = .seconds(60)
            try change(&plan)
            _ = try await Requestor(client: client, plan: plan).run { pool in
                try await pool.withMachine { try await $0.runChecked([.run("/bin/true")], limit: .seconds(30)) }
            }
        }
        #expect(await network.leftovers == [])
        return seen.all.filter { $0["properties"] != nil }
    }

    @Test("properties and a manifest stand in the demand and in the answer to an offer", .timeLimit(.minutes(2)))
    func inDemand() async throws {
        let found = try await demands { plan in
            plan.properties["golem.srv.app.name"] = "mine"
            plan.constraints = [.equal("golem.inf.cpu.architecture", "x86_64")]
            plan.outbound = .urls(["https://api.example.com"])
        }
        #expect(found.count >= 2)
        var manifests: Set<String> = []
        for demand in found {
            #expect(demand["properties"]?["golem.srv.app.name"]?.string == "mine")
            manifests.insert(demand["properties"]?[PropertyName.payload]?.string ?? "none")
            let constraints = demand["constraints"]?.string ?? ""
            #expect(constraints.contains("(golem.runtime.capabilities=inet)"))
            #expect(constraints.contains("(golem.runtime.capabilities=manifest-support)"))
            #expect(constraints.contains("(golem.inf.cpu.architecture=x86_64)"))
        }
        #expect(manifests.count == 1 && !manifests.contains("none"), "the same in all")
    }

    @Test("a signed manifest is handed on as it is", .timeLimit(.minutes(2)))
    func signed() async throws {
        let found = try await demands { plan in
            plan.manifest = try Manifest(
                text: #"{"version":"0.1.0"}"#, signature: "c2ln", algorithm: "sha256", certificate: "Y2VydA==")
        }
        let properties = try #require(found.first?["properties"])
        #expect(properties[PropertyName.payload]?.string == Data(#"{"version":"0.1.0"}"#.utf8).base64EncodedString())
        #expect(properties[PropertyName.payload + ".sig"]?.string == "c2ln")
        #expect(properties[PropertyName.payload + ".sig.algorithm"]?.string == "sha256")
        #expect(properties[PropertyName.payload + ".cert"]?.string == "Y2VydA==")
    }

    @Test("what contradicts the plan's own fields is refused before anything is asked")
    func contradictions() async throws {
        let changes: [(inout RentalPlan) throws -> Void] = [
            { $0.properties[PropertyName.subnet] = "other" }, { $0.properties[PropertyName.taskPackage] = "x" },
            { $0.properties["golem.srv.comp.payload.sig"] = "x" },
            {
                $0.outbound = .unrestricted
                $0.manifest = try Manifest(text: "{}")
            }, { $0.outbound = .urls(["nonsense"]) }, { $0.constraints = [.equal("", "x")] },
        ]
        for change in changes {
            let error = await #expect(throws: GolemError.self) { _ = try await demands(change) }
            #expect(error?.code == .usage)
        }
    }

    @Test("filters by node, name, country and closure; what a node does not say counts against it")
    func filters() {
        func candidate(_ id: NodeID, _ name: String, country: String? = nil) -> Candidate {
            var properties: [String: JSON] = [PropertyName.nodeName: .string(name)]
            properties[PropertyName.country] = country.map { .string($0) }
            return Candidate(providerID: id, offer: Offer(properties: properties), failures: 0)
        }
        let one = candidate("0x1", "anna", country: "de")
        let two = candidate("0x2", "bert")
        let cases: [(OfferFilter, Bool, Bool)] = [
            (.providers(["0x1"]), true, false), (.withoutProviders(["0x1"]), false, true),
            (.names(["bert"]), false, true),
            (.withoutNames(["bert"]), true, false), (.countries(["DE", "PL"]), true, false),
            (.countries(["PL"]), false, false),
            (.custom("short names") { $0.providerName.hasPrefix("a") }, true, false),
        ]
        for (filter, first, second) in cases {
            #expect((filter.objection(one) == nil) == first, "\(filter.objection(one) ?? "taken")")
            #expect((filter.objection(two) == nil) == second, "\(filter.objection(two) ?? "taken")")
        }
    }

    @Test("offers that a filter turns down are not rented, and it is said why", .timeLimit(.minutes(2)))
    func filtered() async throws {
        let network = FakeNetwork(providers: 3)
        let events = Recorder<RentalEvent>()
        let folder = NSTemporaryDirectory() + "golem-filter-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await ScriptedServer.with(network.script) { client, _ in
            var plan = RentalPlan(
                image: .url("http://host/image.gvmi", sha3: Self.hash), budget: 1,
                priceLimits: PriceLimits(perHour: 100), ledgerFolder: folder, environment: [:])
            plan.filters = [.names(["provider-0", "provider-2"]), .custom("odd") { $0.providerName != "provider-0" }]
            plan.patience = .seconds(60)
            plan.onEvent = { events.add($0) }
            let name = try await Requestor(client: client, plan: plan).run { pool in
                try await pool.withMachine { $0.providerName }
            }
            #expect(name == "provider-2")
        }
        #expect(events.all.contains { $0.kind == .offerRefused && $0.message.contains("the filter 'odd'") })
    }

    @Test("a budget is estimated from the limits, never too low")
    func estimate() {
        let limits = PriceLimits(perHour: 0.5, perCPUHour: 1, start: 0.05)
        #expect(RentalPlan.estimatedBudget(machines: 3, hours: 2, priceLimits: limits) == Amount("3.15"))
        #expect(RentalPlan.estimatedBudget(machines: 3, hours: 2, priceLimits: limits, starts: 2) == Amount("3.3"))
        #expect(RentalPlan.estimatedBudget(machines: 3, hours: 2, priceLimits: PriceLimits(start: 1)) == nil)
        #expect(RentalPlan.estimatedBudget(machines: 3, hours: .infinity, priceLimits: limits) == nil)
        #expect(RentalPlan.estimatedBudget(machines: -3, hours: 1, priceLimits: limits) == nil)
        let plan = RentalPlan(machines: 2, image: .tag("a:b"), budget: 1, environment: [:])
        #expect(plan.estimatedBudget(hours: 1) == Amount("2.1"))
    }
}
