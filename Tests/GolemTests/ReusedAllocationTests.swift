import Foundation
import Golem
import Testing

@Suite("An allocation of somebody else", .timeLimit(.minutes(2)))
struct ReusedAllocationTests {
    /// Rents once with an allocation that is there, of which the daemon says this.
    private func run(_ said: ScriptedReply) async throws -> (Result<Void, any Error>, [Expense], FakeNetwork) {
        let network = FakeNetwork(providers: 1)
        await network.leaveBehind(agreement: "old", activity: "oldActivity", allocation: "mine")
        let folder = NSTemporaryDirectory() + "golem-allocation-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var outcome: Result<Void, any Error> = .success(())
        var expenses: [Expense] = []
        let script: ScriptedServer.Script = { request in
            request.line == "GET /payment-api/v1/allocations/mine" ? said : await network.script(request)
        }
        try await ScriptedServer.with(script) { client, _ in
            var plan = RentalPlan(
                image: .url("http://host/image.gvmi", sha3: String(repeating: "ab", count: 28)), budget: 1,
                priceLimits: PriceLimits(perHour: 100), ledgerFolder: folder, environment: [:])
            plan.patience = .seconds(60)
            plan.allocation = "mine"
            let requestor = Requestor(client: client, plan: plan)
            do {
                _ = try await requestor.run { pool in
                    try await pool.withMachine { try await $0.runChecked([.run("/bin/true")], limit: .seconds(30)) }
                }
            } catch {
                outcome = .failure(error)
            }
            expenses = await requestor.expenses()
        }
        return (outcome, expenses, network)
    }

    private func answer(_ platform: String, _ remaining: String) -> ScriptedReply {
        .json([
            "allocationId": "mine", "totalAmount": "5", "remainingAmount": .string(remaining),
            "paymentPlatform": .string(platform),
        ])
    }

    @Test("it pays the bills, and is still there afterwards; no other is made")
    func reused() async throws {
        let (outcome, expenses, network) = try await run(answer("erc20-hoodi-tglm", "2"))
        try outcome.get()
        #expect(expenses.map(\.state) == [.accepted])
        #expect(await network.allocations == ["mine"])
        #expect(await !network.calls.contains("POST /payment-api/v1/allocations"))
    }

    @Test("one that is gone, on another platform or too small is refused before anything is rented")
    func refused() async throws {
        let cases: [(ScriptedReply, GolemError.Code)] = [
            (.json(["message": nil], status: 404), .notFound), (answer("erc20-polygon-glm", "2"), .usage),
            (answer("erc20-hoodi-tglm", "0.5"), .budget),
        ]
        for (reply, code) in cases {
            let (outcome, _, network) = try await run(reply)
            let error = #expect(throws: GolemError.self) { try outcome.get() }
            #expect(error?.code == code)
            #expect(await !network.calls.contains("POST /market-api/v1/demands"))
            #expect(await network.allocations == ["mine"])
        }
    }
}
