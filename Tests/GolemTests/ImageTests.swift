import Foundation
import Golem
import SHA3
import Testing

@Suite("Images: files, addresses, tags")
struct ImageTests {
    private static let hash = String(repeating: "ab", count: 28)

    private func withFile(_ bytes: [UInt8], _ body: (String) async throws -> Void) async throws {
        let path = NSTemporaryDirectory() + "golem-image-\(UInt64.random(in: 0 ... .max)).gvmi"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await body(path)
    }

    /// Larger than two pieces, and not a multiple of one.
    private static let image =
        Array("hsqs".utf8) + (0..<2_300_000).map { UInt8(truncatingIfNeeded: $0) } + Array("12345678".utf8)

    @Test("the hash of a file read in pieces is that of its bytes")
    func hashed() async throws {
        try await withFile(Self.image) { path in
            let hash = try await ImageFile.hash(of: path)
            #expect(hash == SHA3.hash224(Self.image))
        }
    }

    @Test("what is no image is told apart from what is not there")
    func refused() async throws {
        let missing = await #expect(throws: GolemError.self) { try await ImageFile.hash(of: "/nowhere/image.gvmi") }
        #expect(missing?.code == .notFound && missing?.place == "/nowhere/image.gvmi")
        let others: [[UInt8]] = [
            [], Array("hsqs".utf8), Array("hsqs1234567".utf8), Array("hsqsxxxxxxxxxxxx".utf8),
            Array("12345678901234567890".utf8), Array("hsqs 1234567x".utf8),
        ]
        for bytes in others {
            try await withFile(bytes) { path in
                let error = await #expect(throws: GolemError.self) { try await ImageFile.hash(of: path) }
                #expect(error?.code == .malformed, "\(bytes)")
            }
        }
    }

    @Test("a cancelled task stops hashing")
    func cancelled() async throws {
        try await withFile(Self.image) { path in
            let task = Task { try await ImageFile.hash(of: path) }
            task.cancel()
            await #expect(throws: CancellationError.self) { _ = try await task.value }
        }
    }

    private func resolving(_ tag: String, _ reply: ScriptedReply) async throws -> Result<TaskPackage, any Error> {
        var result: Result<TaskPackage, any Error> = .failure(CancellationError())
        let script: ScriptedServer.Script = { request in
            request.path == "/v1/image/info" && request.query == ["count": "true", "tag": tag]
                ? reply : .answer(418, "")
        }
        try await ScriptedServer.with(script) { _, server in
            do {
                result = .success(try await ImageRegistry(url: server.url + "/").resolve(tag))
            } catch {
                result = .failure(error)
            }
        }
        return result
    }

    @Test("a tag becomes an address and a hash; https is taken where there is one")
    func tag() async throws {
        let https = try TaskPackage(url: "https://host/image", sha3: Self.hash)
        let http = try TaskPackage(url: "http://host/image", sha3: Self.hash)
        let found = try await resolving(
            "golem/alpine:latest",
            .json(["sha3": .string(Self.hash), "http": "http://host/image", "https": "https://host/image"])
        ).get()
        #expect(found == https)
        let plain = try await resolving(
            "a/b:c-1.2_3", .json(["sha3": .string(Self.hash.uppercased()), "http": "http://host/image", "https": nil])
        ).get()
        #expect(plain == http)
    }

    @Test("what a registry can answer instead is one clear error each")
    func odd() async throws {
        let cases: [(ScriptedReply, GolemError.Code)] = [
            (.answer(404, #"{"message":"no such image"}"#), .notFound), (.answer(500, "oops"), .io), (.hangUp, .io),
            (.torn, .io), (.answer(200, "<html>"), .malformed), (.json([:]), .malformed),
            (.json(["sha3": "short", "http": "http://host/image"]), .malformed),
            (.json(["sha3": .string(Self.hash), "http": "file:///etc/passwd"]), .malformed),
            (.json(["sha3": 5, "http": ["x"]]), .malformed),
        ]
        for (reply, code) in cases {
            let result = try await resolving("golem/alpine:latest", reply)
            #expect(throws: GolemError.self) { try result.get() }
            if case .failure(let error) = result { #expect((error as? GolemError)?.code == code, "\(reply): \(error)") }
        }
        for tag in ["", "alpine", "a b:c", ":latest", "golem/alpine:", "golem/alpine:x?y", "a\n:b"] {
            let error = await #expect(throws: GolemError.self) {
                try await ImageRegistry(url: "http://127.0.0.1:9").resolve(tag)
            }
            #expect(error?.code == .usage, "\(tag)")
        }
        let away = await #expect(throws: GolemError.self) {
            try await ImageRegistry(url: "http://127.0.0.1:9").resolve("golem/alpine:latest")
        }
        #expect(away?.code == .io)
    }

    @Test("a plan with a tag rents with what the registry says; the next run asks again", .timeLimit(.minutes(2)))
    func planWithTag() async throws {
        let network = FakeNetwork(providers: 1)
        let asked = Recorder<String>()
        let answer: JSON = ["sha3": .string(Self.hash), "http": "http://host/image"]
        let script: ScriptedServer.Script = { request in
            if request.path == "/v1/image/info" {
                asked.add("registry")
                return .json(answer)
            }
            if request.line == "POST /market-api/v1/demands" {
                asked.add(request.body["properties"]?[PropertyName.taskPackage]?.string ?? "none")
            }
            return await network.script(request)
        }
        try await ScriptedServer.with(script) { client, server in
            let folder = NSTemporaryDirectory() + "golem-tag-\(UInt64.random(in: 0 ... .max))"
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let plan = RentalPlan(
                image: .tag("golem/alpine:latest"), budget: 1, priceLimits: PriceLimits(perHour: 100),
                ledgerFolder: folder, environment: ["REGISTRY_URL": server.url])
            let requestor = Requestor(client: client, plan: plan)
            for runs in 1...2 {
                let said = try await requestor.run { pool in
                    try await pool.withMachine { try await $0.runChecked([.run("/bin/true")], limit: .seconds(30)) }
                }
                #expect(said.first?.stdout == "fine")
                // The second goes on with the first one's ledger and budget: both stand in its table.
                let states = await requestor.expenses().map(\.state)
                #expect(states == [Expense.State](repeating: .accepted, count: runs))
            }
        }
        let package = "hash:sha3:\(Self.hash):http://host/image"
        #expect(asked.all.filter { $0 == "registry" }.count == 2)
        #expect(Set(asked.all) == ["registry", package])
        #expect(await network.leftovers == [])
    }

    @Test("a plan whose image is not there asks nothing of the daemon")
    func planWithoutImage() async throws {
        let network = FakeNetwork(providers: 1)
        try await ScriptedServer.with(network.script) { client, _ in
            let plan = RentalPlan(image: .file("/nowhere/image.gvmi"), budget: 1, environment: ["HOME": "/nowhere"])
            let error = await #expect(throws: GolemError.self) {
                try await Requestor(client: client, plan: plan).run { _ in }
            }
            #expect(error?.code == .notFound)
        }
        #expect(await network.calls == [])
    }
}

@Suite("What a short program need not say")
struct DefaultsTests {
    @Test("the daemon is where the environment says")
    func client() throws {
        let own = try GolemClient(environment: ["YAGNA_APPKEY": "key"])
        #expect(own.address == .standard)
        let other = try GolemClient(environment: ["YAGNA_APPKEY": "key", "YAGNA_API_URL": "http://127.0.0.1:80"])
        #expect(other.address.description == "http://127.0.0.1:80")
        for environment in [[:], ["YAGNA_APPKEY": ""]] {
            let error = #expect(throws: GolemError.self) { try GolemClient(environment: environment) }
            #expect(error?.code == .unauthorized && error?.hint?.contains("YAGNA_APPKEY") == true)
        }
    }

    @Test(
        "subnet, network, driver, registry and the folder of ledgers come from the environment, else are the usual ones"
    )
    func plan() {
        let usual = RentalPlan(image: .tag("a:b"), budget: 0.1, environment: ["HOME": "/home/me", "YAGNA_SUBNET": ""])
        #expect(usual.subnet == "public" && usual.paymentPlatform == "erc20-hoodi-tglm" && usual.machines == 1)
        #expect(usual.ledgerFolder == "/home/me/.local/share/golem-swift/ledgers")
        #expect(usual.priceLimits == .standard && usual.registry == "https://registry.golem.network")
        let other = RentalPlan(
            image: .tag("a:b"), budget: 2,
            environment: [
                "XDG_DATA_HOME": "/data", "YAGNA_SUBNET": "mine", "YAGNA_PAYMENT_NETWORK": "polygon",
                "YAGNA_PAYMENT_DRIVER": "erc20next", "REGISTRY_URL": "http://registry",
            ])
        #expect(other.subnet == "mine" && other.paymentPlatform == "erc20next-polygon-glm")
        #expect(other.ledgerFolder == "/data/golem-swift/ledgers" && other.registry == "http://registry")
        let relative = RentalPlan.ledgerFolder(environment: ["XDG_DATA_HOME": "data", "HOME": "/home/me"])
        #expect(relative == "/home/me/.local/share/golem-swift/ledgers")
        #expect(usual.runName != other.runName)
        #expect(usual.runName.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) })
    }

    @Test("an amount in the source is the decimal that is written there")
    func literals() {
        let amounts: [(Amount, String)] = [
            (0.1, "0.1"), (12.1, "12.1"), (1e-18, "0.000000000000000001"), (3, "3"), (2.5e3, "2500"),
        ]
        for (amount, text) in amounts { #expect(amount.description == text) }
    }
}
