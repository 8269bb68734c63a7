import Foundation
import Golem
import GolemFleet
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
    @Test func withoutAnyMeasurementTheRunsLimitHolds() {
        #expect(TaskDeadline().seconds(work: 1000, bytes: 1000, own: nil, others: [], limit: 77) == 77)
    }

    @Test func ownSpeedCountsBeforeThatOfOthers() {
        var deadline = TaskDeadline()
        deadline.least = 0
        deadline.slowestTransfer = .infinity
        #expect(deadline.seconds(work: 1000, bytes: 9, own: 100, others: [1], limit: 1e9) == 50)
        #expect(deadline.seconds(work: 1000, bytes: 9, own: nil, others: [100, 50], limit: 1e9) == 100)
    }

    @Test func limitsHoldAtBothEnds() {
        #expect(TaskDeadline().seconds(work: 1, bytes: 0, own: 1e6, others: [], limit: 3600) == 15)
        #expect(TaskDeadline().seconds(work: 1_000_000, bytes: 0, own: 1, others: [], limit: 60) == 60)
    }
}

@Suite struct MarketSurveyTests {
    private func offer(_ name: String, price: Double, _ changes: [String: JSON] = [:]) -> (id: String, offer: Offer) {
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
        return ("0x" + name, Offer(properties: properties))
    }

    @Test func everyFilterSaysWhatItLeaves() throws {
        let survey = MarketSurvey(
            [
                offer("a", price: 0.2), offer("b", price: 0.1), offer("dear", price: 50),
                offer("other", price: 0.1, ["golem.node.debug.subnet": "x"]),
                offer("wasm", price: 0.1, ["golem.runtime.name": "wasmtime"]),
                offer("small", price: 0.1, ["golem.inf.mem.gib": 0.25]),
            ], settings: GolemSettings())
        #expect(survey.steps.map(\.left) == [5, 4, 4, 3, 3, 3, 2])
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
}
