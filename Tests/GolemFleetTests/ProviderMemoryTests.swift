import Foundation
import Golem
import GolemFleet
import NeuralNetwork
import Testing

@Suite struct ProviderMemoryTests {
    private let start = Date(timeIntervalSince1970: 1_800_000_000)

    @Test func speedIsAveragedOverTheNewest() throws {
        let memory = try ProviderMemory()
        try memory.succeeded("0x1", name: "one", speed: 100, at: start)
        try memory.succeeded("0x1", name: "one", speed: 200, at: start)
        let record = try #require(try memory.record("0x1", at: start))
        #expect(abs(record.speed! - 130) < 1e-9)
        #expect(record.successes == 2 && record.failures == 0 && !record.isAskedLast)
    }

    @Test func failedTwiceIsAskedLastUntilItFades() throws {
        let memory = try ProviderMemory()
        try memory.failed("0x1", name: "one", reason: "damaged", at: start)
        #expect(try memory.record("0x1", at: start)?.isAskedLast == false)
        try memory.failed("0x1", name: "one", reason: "too late", at: start)
        let record = try #require(try memory.record("0x1", at: start))
        #expect(record.isAskedLast && record.reason == "too late" && record.failures == 2)
        let later = start + ProviderMemory.halfLife
        let faded = try #require(try memory.record("0x1", at: later))
        #expect(abs(faded.failures - 1) < 1e-9 && !faded.isAskedLast)
    }

    @Test func goodWorkOutweighsOldFailures() throws {
        let memory = try ProviderMemory()
        for _ in 0..<2 { try memory.failed("0x1", name: "one", reason: "lost", at: start) }
        for _ in 0..<3 { try memory.succeeded("0x1", name: "one", speed: nil, at: start) }
        #expect(try memory.record("0x1", at: start)?.isAskedLast == false)
    }

    @Test func fileIsKeptAndSharedByTwo() throws {
        let path = FileManager.default.temporaryDirectory.path + "/memory-\(UUID().uuidString).sqlite"
        defer { for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + end) } }
        let first = try ProviderMemory(path: path)
        let second = try ProviderMemory(path: path)
        try first.succeeded("0x1", name: "one", speed: 5, at: start)
        try second.failed("0x2", name: "two", reason: "gone", at: start + 1)
        #expect(try first.records(at: start + 1).map(\.id) == ["0x2", "0x1"])
        #expect(try ProviderMemory(path: path).record("0x1", at: start)?.speed == 5)
        try first.forget(before: start + 1)
        #expect(try second.records(at: start + 1).map(\.id) == ["0x2"])
    }

    @Test func speedsInSamplesASecondAreForgotten() throws {
        let path = FileManager.default.temporaryDirectory.path + "/memory-\(UUID().uuidString).sqlite"
        defer { for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + end) } }
        func remember() throws {
            try ProviderMemory(path: path).succeeded("0x1", name: "one", speed: 66_000, at: start)
        }
        try remember()
        #expect(try ProviderMemory(path: path).record("0x1", at: start)?.speed == 66_000)
        // A file from before has 0 as its version, at byte 60 of SQLite's header.
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes.replaceSubrange(60..<64, with: [0, 0, 0, 0])
        try bytes.write(to: URL(fileURLWithPath: path))
        let record = try #require(try ProviderMemory(path: path).record("0x1", at: start))
        #expect(record.speed == nil && record.successes == 1)
        try remember()
        #expect(try ProviderMemory(path: path).record("0x1", at: start)?.speed == 66_000)
    }

    @Test func unknownProvidersAreOrderedByPrice() {
        let score = ProviderScore([])
        #expect(score.value(provider: "a", price: 0.1) < score.value(provider: "b", price: 0.2))
    }

    @Test func speedIsWorthItsPriceAndFailuresCost() throws {
        let memory = try ProviderMemory()
        try memory.succeeded("fast", name: "fast", speed: 400, at: start)
        try memory.succeeded("slow", name: "slow", speed: 100, at: start)
        for _ in 0..<2 { try memory.failed("bad", name: "bad", reason: "x", at: start) }
        let score = ProviderScore(try memory.records(at: start))
        #expect(score.value(provider: "fast", price: 0.3) < score.value(provider: "slow", price: 0.1))
        #expect(score.value(provider: "bad", price: 0) > score.value(provider: "stranger", price: 100))
        #expect(
            score.value(provider: "stranger", price: 0.1, failuresInRun: 1) > score.value(provider: "slow", price: 1))
    }
}

@Suite struct TaskDeadlineTests {
    private func work(_ multiplyAdds: Double) -> TrainingWork {
        var work = TrainingWork(model, examples: 1, batchSize: 1, epochs: 1)
        work.multiplyAdds = multiplyAdds
        return work
    }

    private let model: ModelDescription
    private let perceptron: ModelDescription
    private let convolutional: ModelDescription

    init() throws {
        model = try ModelDescription(input: .init(shape: [2]), layers: [.linear(outFeatures: 2)], loss: .crossEntropy)
        perceptron = try ModelDescription(
            input: .init(shape: [1, 28, 28]),
            layers: [.flatten, .linear(outFeatures: 128), .relu, .linear(outFeatures: 10)], loss: .crossEntropy)
        // The convolutional network of McMahan et al., 2017: 1.7 M parameters.
        convolutional = try ModelDescription(
            input: .init(shape: [1, 28, 28]),
            layers: [
                .conv2d(outChannels: 32, kernelSize: 5, padding: 2), .relu, .maxPool2d(Window2D(kernelSize: 2)),
                .conv2d(outChannels: 64, kernelSize: 5, padding: 2), .relu, .maxPool2d(Window2D(kernelSize: 2)),
                .flatten, .linear(outFeatures: 512), .relu, .linear(outFeatures: 10),
            ], loss: .crossEntropy)
    }

    @Test func withoutAnyMeasurementTheRunsLimitHolds() {
        #expect(TaskDeadline().seconds(work: work(1000), bytes: 1000, speeds: .init(), limit: 77) == 77)
    }

    @Test func ownSpeedCountsBeforeThatOfOthers() {
        var deadline = TaskDeadline()
        deadline.least = 0
        deadline.slowestTransfer = .infinity
        func seconds(_ speeds: TaskDeadline.Speeds) -> Double {
            deadline.seconds(work: work(1000), bytes: 9, speeds: speeds, limit: 1e9)
        }
        #expect(seconds(.init(own: 100, slowestOther: 1, remembered: 1)) == 50)
        #expect(seconds(.init(slowestOther: 50)) == 100)
        // What gives more time counts, of what is known of others and of other runs.
        #expect(seconds(.init(slowestOther: 50, remembered: 1000)) == 100)
        #expect(seconds(.init(slowestOther: 50, remembered: 100)) == 250)
        #expect(seconds(.init(remembered: 0)) == 1e9)
    }

    @Test func limitsHoldAtBothEnds() {
        let deadline = TaskDeadline()
        #expect(deadline.seconds(work: work(1), bytes: 0, speeds: .init(own: 1e6), limit: 3600) == 15)
        #expect(deadline.seconds(work: work(1_000_000), bytes: 0, speeds: .init(own: 1), limit: 60) == 60)
    }

    /// The whole kind: whatever model a provider's speed was learned with, an honest machine is given the time that
    /// another model really takes there.
    @Test func speedOfOneModelDoesNotKillAnother() {
        // Samples a second of one and the same machine, measured.
        let rates: [(ModelDescription, Double)] = [(perceptron, 66_000), (convolutional, 150)]
        for (learned, rate) in rates {
            let remembered =
                TrainingWork(learned, examples: 60_000, batchSize: 64, epochs: 1).multiplyAdds * rate / 60_000
            for (asked, honest) in rates {
                let limit = TaskDeadline().seconds(
                    work: TrainingWork(asked, examples: 600_000, batchSize: 64, epochs: 1), bytes: 200_000,
                    speeds: .init(remembered: remembered), limit: 1e9)
                #expect(limit > 2 * 600_000 / honest, "\(learned.layers.count) → \(asked.layers.count) layers")
            }
        }
    }

    @Test func workCountsWhatIsComputed() {
        let example = Double(3 * model.multiplyAdds + 10 * (2 + 2))
        let expected: Double = 3 * (7 * example + 4 * 10 * 6)
        #expect(TrainingWork(model, examples: 7, batchSize: 2, epochs: 3).multiplyAdds == expected)
        #expect(perceptron.activationsPerExample == 1050)
    }
}

@Suite struct AgreementTimeTests {
    private func verdict(
        whole: Double, left: Double, expected: Double? = nil, maxSeconds: Double? = nil, transfer: Double = 0
    ) -> AgreementTime.Verdict {
        AgreementTime(whole: whole, left: left).verdict(
            expected: expected, maxSeconds: maxSeconds, transfer: transfer)
    }

    @Test func shortTasksFit() {
        #expect(verdict(whole: 1500, left: 1500, expected: 60) == .fits)
        #expect(verdict(whole: 1500, left: 1500) == .fits)
        #expect(verdict(whole: 86_400, left: 40_000, expected: 3600, maxSeconds: 7200) == .fits)
    }

    @Test func whatIsNearlyOverIsExchanged() {
        #expect(verdict(whole: 1500, left: 100) == .exchange)
        #expect(verdict(whole: 1500, left: 500, expected: 600) == .exchange)
        #expect(verdict(whole: 86_400, left: 500, maxSeconds: 600) == .exchange)
    }

    @Test func workThatNoAgreementHoldsIsCutWhereThatIsAllowed() {
        #expect(verdict(whole: 1500, left: 1490, maxSeconds: 3600, transfer: 60) == .cut(1400))
        // A full day does not need it, and the worker stops by itself where less is enough.
        #expect(verdict(whole: 86_400, left: 86_000, maxSeconds: 3600) == .fits)
        // Not allowed: it is tried, and fails with the reason.
        #expect(verdict(whole: 1500, left: 1490, expected: 3600) == .fits)
    }

    /// A new agreement is never exchanged: that would go on for ever, with a start price each time.
    @Test func newAgreementsAreUsed() {
        for whole in stride(from: 1.0, through: 100_000, by: 997) {
            for need in [nil, 10, 1000, 1e6] as [Double?] {
                for maxSeconds in [nil, 5, 3600, 1e7] as [Double?] {
                    #expect(verdict(whole: whole, left: whole, expected: need, maxSeconds: maxSeconds) != .exchange)
                }
            }
        }
    }
}

@Suite struct MarketSurveyTests {
    private func offer(_ name: String, price: Double, _ changes: [String: JSON] = [:]) -> (node: NodeID, offer: Offer) {
        var properties: [String: JSON] = [
            "golem.node.debug.subnet": "public", "golem.node.id.name": .string(name), "golem.runtime.name": "vm",
            "golem.inf.mem.gib": 4.0, "golem.inf.storage.gib": 20.0, "golem.inf.cpu.cores": 2,
            "golem.inf.cpu.threads": 2,
            "golem.com.payment.platform.erc20-hoodi-tglm.address": "0x0", "golem.com.pricing.model": "linear",
            "golem.com.scheme": "payu",
            "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
            "golem.com.pricing.model.linear.coeffs": .array([JSON(price / 3600), 0, 0]),
        ]
        properties.merge(changes) { _, new in new }
        return (NodeID("0x" + name)!, Offer(properties: properties))
    }

    @Test func everyFilterSaysWhatItLeaves() throws {
        let survey = MarketSurvey(
            [
                offer("a", price: 0.2), offer("b", price: 0.1), offer("dear", price: 50),
                offer("other", price: 0.1, ["golem.node.debug.subnet": "x"]),
                offer("wasm", price: 0.1, ["golem.runtime.name": "wasmtime"]),
                offer("small", price: 0.1, ["golem.inf.mem.gib": 0.25]),
            ], settings: GolemSettings())
        #expect(survey.steps.map(\.left) == [5, 4, 4, 4, 3, 3, 3, 3, 2])
        #expect(survey.usable.map(\.provider) == ["b", "a"])
        #expect(survey.offers.first { $0.provider == "small" }?.objection == "memory 0.25 GiB")
        #expect(survey.offers.first { $0.provider == "dear" }?.objection?.contains("limit") == true)
        let spread = try #require(survey.spread)
        #expect(abs(spread.least - 0.1) < 1e-9 && abs(spread.most - 0.2) < 1e-9)
    }

    @Test func expectedCostTakesTheCheapestAndScalesWhenThereAreTooFew() throws {
        let survey = MarketSurvey([offer("a", price: 0.2), offer("b", price: 0.1)], settings: GolemSettings())
        #expect(abs(try #require(survey.expectedCost(machines: 1, hours: 2)) - 0.2) < 1e-9)
        #expect(abs(try #require(survey.expectedCost(machines: 4, hours: 1)) - 0.6) < 1e-9)
        #expect(MarketSurvey([], settings: GolemSettings()).expectedCost(machines: 1, hours: 1) == nil)
    }

    @Test("while the market is listened to, a price is known as soon as there are as many machines")
    func expectedSoFar() {
        let progress = MarketSurvey.Progress(
            offers: 9, prices: [(0.5, 4), (0.25, 1), (0, .infinity), (0.5, 2)], elapsed: .seconds(1))
        #expect(progress.usable == 4)
        #expect(progress.expectedCost(machines: 2, hours: 2) == 0.25 + 2 + 0.5 + 4)
        #expect(progress.expectedCost(machines: 5, hours: 2) == nil)
    }
}
