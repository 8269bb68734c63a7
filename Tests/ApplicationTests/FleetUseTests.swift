import Application
import Federation
import Foundation
import Inference
import Synchronization
import Tensors
import Testing

/// Models used by the machines of a fleet, as calls and values: what every face of the program has.
@Suite("A model used by a fleet", .timeLimit(.minutes(1)))
struct FleetUseTests {
    private static func trained() async throws -> Workplace {
        let place = try Workplace()
        _ = try await place.start([("output", "run"), ("comparison", "false")]).summary()
        return place
    }

    private static func simulated(rows: Int = 7) -> FleetPlace {
        var place = FleetPlace(.simulated, machines: 2, audit: .all)
        place.rowsPerShard = rows
        return place
    }

    @Test("predictions are the file of this process, and the events tell it all")
    func predict() async throws {
        let place = try await Self.trained()
        let events = Mutex([InferenceEvent]())
        for name in ["out.csv", "out.npz", "out.jsonl", "out.safetensors"] {
            var request = PredictRequest(model: "run", part: .all, count: 150, start: 20, output: "here-" + name)
            _ = try place.application.predict(request)
            request.output = "there-" + name
            events.withLock { $0 = [] }
            let done = try await place.application.predict(request, on: Self.simulated()) { event in
                events.withLock { $0.append(event) }
            }
            #expect(
                try Files.read(place.folder + "/here-" + name, maximumBytes: 1 << 20)
                    == Files.read(place.folder + "/there-" + name, maximumBytes: 1 << 20), "\(name)")
            #expect(done.count == 150 && done.judged == 150 && done.right > 120)
            #expect(done.answer.predictions.count == 100 && done.answer.predictions[0].example == 20)
            #expect(done.result.audits?.audited == 22 && done.result.expenses == nil)
        }
        #expect(try Files.names(in: place.folder).allSatisfy { !$0.hasSuffix(".work") })
        let all = events.withLock { $0 }
        let kept = all.compactMap { if case .kept(let kept) = $0 { kept.shard } else { nil } }
        #expect(kept.sorted() == Array(0..<22))
        guard case .progress(let last)? = all.last(where: { if case .progress = $0 { true } else { false } }) else {
            Issue.record("no progress")
            return
        }
        #expect(last.rowsDone == 150 && last.rows == 150 && last.shardsDone == 22 && last.atWork == 0)
    }

    @Test("a test gives the very same measures, and labels stay at home")
    func evaluate() async throws {
        let place = try await Self.trained()
        let here = try place.application.evaluate(EvaluateRequest(model: "run"))
        let there = try await place.application.evaluate(EvaluateRequest(model: "run"), on: Self.simulated()) { _ in }
        #expect(there.answer.evaluation == here.evaluation && there.answer.classes == here.classes)
        #expect(try Files.names(in: place.folder + "/runs").isEmpty)
    }

    @Test("what makes no sense is refused before a machine is asked")
    func refused() async throws {
        let place = try await Self.trained()
        func error(_ request: PredictRequest, _ where: FleetPlace) async -> DeMLError? {
            await #expect(throws: DeMLError.self) {
                try await place.application.predict(request, on: `where`) { event in
                    if case .given = event { Issue.record("a machine was asked") }
                }
            }
        }
        let request = PredictRequest(model: "run", output: "out.csv")
        var nobody = Self.simulated()
        nobody.machines = 0
        #expect(await error(request, nobody)?.message.contains("--machines") == true)
        #expect(await error(request, FleetPlace(.golem, golem: ["budget": "much"]))?.code == .usage)
        #expect(await error(request, FleetPlace(.local))?.message.contains("deml-worker") == true)
        try Files.createDirectory(place.folder + "/folder")
        #expect(
            await error(PredictRequest(model: "run", output: "folder"), Self.simulated())?.code == .cannotCreate)
        #expect(
            await error(PredictRequest(model: "run", start: 1000, output: "out.csv"), Self.simulated())?.code == .usage)
        try place.write("x,y\n1,2\n", "narrow.csv")
        let narrow = PredictRequest(model: "run", data: DataRequest(data: "narrow.csv"), output: "out.csv")
        #expect(await error(narrow, Self.simulated())?.exitCode == 65)
        #expect(try Files.names(in: place.folder).allSatisfy { !$0.hasPrefix("out.csv") })
    }
}
