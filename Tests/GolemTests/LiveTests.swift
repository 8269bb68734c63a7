import Foundation
import Golem
import SHA3
import Testing

/// Where the network is that `Tests/testnet/up` started; `nil` without one.
private let api = ProcessInfo.processInfo.environment["YAGNA_API_URL"]
private let image = ProcessInfo.processInfo.environment["GOLEM_TEST_IMAGE"]

/// Against real daemons. `Tests/system/golem-client.sh` packs the image, starts the network and runs them.
@Suite(
    "A rental against the real daemon", .serialized,
    .enabled(if: api != nil && image != nil, "needs a Golem Network: run Tests/system/golem-client.sh"))
struct LiveTests {
    private static func client(_ body: (GolemClient) async throws -> Void) async throws {
        let environment = ProcessInfo.processInfo.environment
        try await GolemClient.with(
            url: try #require(api), appKey: environment["YAGNA_APPKEY"] ?? "", body)
    }

    private static func plan(machines: Int, package: TaskPackage, budget: Amount = 1) -> RentalPlan {
        let environment = ProcessInfo.processInfo.environment
        var plan = RentalPlan(
            machines: machines, image: package, budget: budget, priceLimits: PriceLimits(perHour: 3),
            subnet: environment["YAGNA_SUBNET"] ?? "", network: environment["YAGNA_PAYMENT_NETWORK"] ?? "hoodi",
            ledgerFolder: NSTemporaryDirectory() + "golem-ledgers-\(UInt32.random(in: 0...UInt32.max))",
            runName: "live")
        plan.patience = .seconds(30)
        plan.onEvent = { print("\($0.date) \($0)") }
        return plan
    }

    private static func serving(_ body: @Sendable @escaping (GolemClient, TaskPackage) async throws -> Void)
        async throws
    {
        try await client { client in
            let path = try #require(image)
            let hash = SHA3.hash224(try Data(contentsOf: URL(fileURLWithPath: path)))
            try await client.serving(.file(path)) { url in
                try await body(client, try TaskPackage(url: url, sha3: hash))
            }
        }
    }

    @Test("identity, version, accounts and funds can be read")
    func identity() async throws {
        try await Self.client { client in
            let identity = try await client.me()
            #expect(identity.nodeID.rawValue.hasPrefix("0x"))
            let version = try await client.version()
            #expect(version.current.contains("."))
            let accounts = try await client.payment.requestorAccounts()
            #expect(accounts.contains { $0.platform == "erc20-hoodi-tglm" && $0.canSend })
            let problems = try await client.payment.driverProblems(network: "hoodi")
            #expect(problems.isEmpty)
        }
    }

    @Test("a file goes out and comes back the same; all is paid and nothing is left")
    func rental() async throws {
        try await Self.serving { client, package in
            let requestor = Requestor(client: client, plan: Self.plan(machines: 1, package: package))
            let began = ContinuousClock.now
            try await requestor.run { pool in
                let machine = try await pool.next()
                print("first machine after \(ContinuousClock.now - began)")
                let data = (0..<(24 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
                let file = NSTemporaryDirectory() + "golem-live-\(UInt32.random(in: 0...UInt32.max))"
                var start = ContinuousClock.now
                try await machine.send(.bytes(data), to: "/golem/input/data", limit: .seconds(60))
                let up = Double(data.count) / (ContinuousClock.now - start).inSeconds / 1e6
                try await machine.runChecked(
                    [.run("/bin/cp", arguments: ["/golem/input/data", "/golem/output/data"])], limit: .seconds(30))
                start = ContinuousClock.now
                let received = try await machine.fetch(
                    "/golem/output/data", into: file, maximumBytes: data.count, limit: .seconds(60))
                let down = Double(data.count) / (ContinuousClock.now - start).inSeconds / 1e6
                print("sent at \(up) MB/s, fetched at \(down) MB/s")
                #expect(received.byteCount == data.count)
                let copy = try Data(contentsOf: URL(fileURLWithPath: file))
                #expect(copy == Data(data))
                try FileManager.default.removeItem(atPath: file)
                let failed = try await machine.run(
                    [.run("/bin/cp", arguments: ["/nothing", "/golem/output/x"])], limit: .seconds(30))
                #expect(failed.failure?.exitCode == 1)
                await pool.giveBack(machine)
            }
            let expenses = await requestor.expenses()
            print(expenses)
            #expect(expenses.count == 1)
            #expect(expenses.allSatisfy { $0.state == .accepted && $0.accepted > .zero && $0.accepted == $0.billed })
            let allocations = try await client.payment.allocations()
            #expect(allocations.isEmpty)
        }
    }

    @Test("files come into memory and piece by piece, with progress; another program attaches to the machine")
    func streamedAndAttached() async throws {
        try await Self.serving { client, package in
            let requestor = Requestor(client: client, plan: Self.plan(machines: 1, package: package))
            try await requestor.run { pool in
                let machine = try await pool.next()
                let data = (0..<(3 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
                let sent = Recorder<TransferProgress>()
                try await machine.send(.bytes(data), to: "/golem/input/data", limit: .seconds(60)) { sent.add($0) }
                #expect(sent.all.last?.bytes == data.count && sent.all.last?.totalBytes == data.count)
                // Whoever knows the activity can use it, as a program does that was started again.
                let attached = try await client.attach(to: machine.id)
                #expect(attached.providerID == machine.providerID && attached.agreementID == machine.agreementID)
                #expect(abs((attached.expiration - machine.expiration).inSeconds) < 1)
                try await attached.runChecked(
                    [.run("/bin/cp", arguments: ["/golem/input/data", "/golem/output/data"])], limit: .seconds(30))
                let copy = try await attached.fetch(
                    "/golem/output/data", maximumBytes: data.count, limit: .seconds(60))
                #expect(copy == data)
                let pieces = Recorder<[UInt8]>()
                let received = try await machine.fetch(
                    "/golem/output/data", maximumBytes: data.count, limit: .seconds(60)
                ) { pieces.add($0) }
                #expect(received.byteCount == data.count && received.sha3 == SHA3.hash256(data))
                #expect(pieces.all.count > 3 && pieces.all.flatMap(\.self) == data)
                await pool.giveBack(machine)
            }
            let expenses = await requestor.expenses()
            #expect(expenses.map(\.state) == [.accepted])
        }
    }

    @Test("the daemon makes a private network and takes it away again")
    func privateNetwork() async throws {
        try await Self.client { client in
            let id = try await client.withNetwork("192.168.77.0/24") { network in
                #expect(network.ownAddress.description == "192.168.77.1")
                let all = try await client.network.networks()
                let own = all.first { $0.id == network.id }
                #expect(own?.address.description == "192.168.77.0" && own?.mask.description == "255.255.255.0")
                let addresses = try await client.network.addresses(in: network.id)
                #expect(addresses.map(\.description) == ["192.168.77.1"])
                let nodes = try await client.network.nodes(of: network.id)
                print("nodes of the network: \(nodes)")
                return network.id
            }
            let left = try await client.network.networks()
            #expect(!left.contains { $0.id == id })
            try await client.network.remove(id)
        }
    }

    @Test("cancelling gives everything back")
    func cancellation() async throws {
        try await Self.serving { client, package in
            let requestor = Requestor(client: client, plan: Self.plan(machines: 2, package: package))
            let task = Task {
                try await requestor.run { pool in
                    _ = try await pool.waitForMachines(1, limit: .seconds(30))
                    withUnsafeCurrentTask { $0?.cancel() }
                    try await Task.sleep(for: .seconds(60))
                }
            }
            await #expect(throws: CancellationError.self) { try await task.value }
            let allocations = try await client.payment.allocations()
            #expect(allocations.isEmpty)
            let expenses = await requestor.expenses()
            #expect(expenses.allSatisfy { $0.state == .accepted })
        }
    }

    @Test("without a provider that fits, it says so in time")
    func nobody() async throws {
        try await Self.serving { client, package in
            var plan = Self.plan(machines: 1, package: package)
            plan.priceLimits.perHour = 0.000001
            plan.patience = .seconds(4)
            let requestor = Requestor(client: client, plan: plan)
            let error = await #expect(throws: GolemError.self) {
                try await requestor.run { pool in _ = try await pool.next() }
            }
            #expect(error?.code == .noMachine)
            #expect(error?.message.contains("too dear") == true)
            let allocations = try await client.payment.allocations()
            #expect(allocations.isEmpty)
        }
    }
}
