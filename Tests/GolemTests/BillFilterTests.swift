import Foundation
import Golem
import Testing

@Suite("A filter of bills", .timeLimit(.minutes(2)))
struct BillFilterTests {
    @Test(
        "what it refuses is rejected with its reason and not paid; what it lets pass is paid", arguments: [true, false])
    func refused(refuses: Bool) async throws {
        let network = FakeNetwork(providers: 1)
        let bills = Recorder<ReceivedBill>()
        let folder = NSTemporaryDirectory() + "golem-bills-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await ScriptedServer.with(network.script) { client, _ in
            var plan = RentalPlan(
                image: .url("http://host/image.gvmi", sha3: String(repeating: "ab", count: 28)), budget: 1,
                priceLimits: PriceLimits(perHour: 100), ledgerFolder: folder, environment: [:])
            plan.patience = .seconds(60)
            plan.billObjection = { bill in
                bills.add(bill)
                return refuses ? "not on a Sunday" : nil
            }
            let requestor = Requestor(client: client, plan: plan)
            do {
                _ = try await requestor.run { pool in
                    try await pool.withMachine { try await $0.runChecked([.run("/bin/true")], limit: .seconds(30)) }
                }
            } catch let error as GolemError where refuses {
                // A debit note that comes while the work goes on ends it.
                #expect("\(error)".contains("not on a Sunday"))
            }
            let line = try #require(await requestor.expenses().first)
            #expect(line.state == (refuses ? .rejected : .accepted), "\(line)")
            if refuses {
                #expect(line.reason == "not on a Sunday" && line.accepted == .zero)
            }
        }
        #expect(await network.acceptances.isEmpty == refuses)
        #expect(await network.rejected.values.contains { $0.contains("not on a Sunday") } == refuses)
        let invoice = try #require(bills.all.first { $0.kind == .invoice })
        #expect(invoice.providerName == "provider-0" && invoice.amount > .zero)
        #expect(await network.leftovers == [])
    }
}
