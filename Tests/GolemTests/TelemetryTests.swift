import CoreMetrics
import Foundation
import Golem
import InMemoryTracing
import MetricsTestKit
import Testing
import Tracing

@Suite("Metrics and spans")
struct TelemetryTests {
    @Test("a rental is told as spans within each other, and counted")
    func rental() async throws {
        let folder = NSTemporaryDirectory() + "golem-telemetry-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var plan = RentalPlan(
            machines: 1, image: try TaskPackage(url: "http://image", sha3: String(repeating: "ab", count: 28)),
            budget: 1, priceLimits: PriceLimits(perHour: 100), ledgerFolder: folder, runName: "run")
        plan.patience = .seconds(60)
        plan.invoiceLimit = .seconds(60)
        let network = FakeNetwork(providers: 1)
        let (tracer, backend, finished) = (InMemoryTracer(), Backend(), plan)
        let metrics = backend.others
        var expenses: [Expense] = []
        try await withTracer(tracer) {
            try await withMetricsFactory(backend) {
                try await ScriptedServer.with(network.script) { client, _ in
                    let requestor = Requestor(client: client, plan: finished)
                    _ = try await requestor.run { pool in
                        try await pool.withMachine { machine in
                            try await machine.runChecked([.run("/bin/true")], limit: .seconds(10))
                        }
                    }
                    expenses = await requestor.expenses()
                }
            }
        }
        let spans = tracer.finishedSpans
        #expect(tracer.activeSpans.isEmpty, "every span has an end")
        let names = spans.map(\.operationName).sorted()
        // One batch gets the machine ready, one is the work.
        #expect(
            names == ["golem.batch", "golem.batch", "golem.deploy", "golem.negotiate", "golem.rental", "golem.settle"])
        let rental = try #require(spans.first { $0.operationName == "golem.rental" })
        #expect(rental.attributes.get("golem.provider.name") == .string("provider-0") && rental.status == nil)
        let inside = spans.filter { $0.parentSpanID == rental.spanID }.map(\.operationName).sorted()
        #expect(inside == ["golem.batch", "golem.deploy", "golem.negotiate"])

        #expect(metrics.counterTotal(label: "golem_offers_total", dimensions: [("outcome", "considered")]) >= 1)
        #expect(metrics.counterTotal(label: "golem_negotiations_total", dimensions: [("outcome", "approved")]) == 1)
        #expect(metrics.counterTotal(label: "golem_machines_total", dimensions: [("outcome", "ready")]) == 1)
        #expect(metrics.counterTotal(label: "golem_machines_total", dimensions: [("outcome", "lost")]) == 0)
        #expect(metrics.counterTotal(label: "golem_refused_bills_total") == 0)
        #expect(expenses.count == 1 && expenses[0].state == .accepted)
        #expect(backend.sums.all.map(\.label) == ["golem_accepted_glm_total"])
        #expect(backend.sums.all.map(\.amount) == expenses.map(\.accepted.glm))
    }

    /// Counts in fractions, which the kit's own does not.
    private final class Backend: MetricsFactory {
        let others = TestMetrics()
        let sums = Recorder<(label: String, amount: Double)>()

        final class Sum: FloatingPointCounterHandler {
            let label: String
            let sums: Recorder<(label: String, amount: Double)>

            init(label: String, sums: Recorder<(label: String, amount: Double)>) {
                self.label = label
                self.sums = sums
            }

            func increment(by amount: Double) { sums.add((label, amount)) }
            func reset() {}
        }

        func makeFloatingPointCounter(label: String, dimensions: [(String, String)]) -> any FloatingPointCounterHandler
        {
            Sum(label: label, sums: sums)
        }

        func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
            others.makeCounter(label: label, dimensions: dimensions)
        }

        func makeRecorder(
            label: String, dimensions: [(String, String)], aggregate: Bool
        ) -> any RecorderHandler {
            others.makeRecorder(label: label, dimensions: dimensions, aggregate: aggregate)
        }

        func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
            others.makeTimer(label: label, dimensions: dimensions)
        }

        func destroyFloatingPointCounter(_: any FloatingPointCounterHandler) {}
        func destroyCounter(_: any CounterHandler) {}
        func destroyRecorder(_: any RecorderHandler) {}
        func destroyTimer(_: any TimerHandler) {}
    }
}
