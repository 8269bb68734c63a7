import Application
import Dispatch
import Federation
import Foundation
import Synchronization
import Tensors
import Testing

/// A folder with a small dataset and settings, and the application working in it.
final class Workplace: Sendable {
    let folder: String
    let application: Application

    init() throws {
        folder = NSTemporaryDirectory() + "deml-application-" + UUID().uuidString
        try Files.createDirectory(folder)
        application = Application(
            workingFolder: folder, executable: folder + "/bin/deml", environment: ["HOME": folder + "/home"])
        // Two clouds of points: a label, then four numbers.
        var random = SeededGenerator(seed: 3, purpose: "clouds")
        var text = "label,a,b,c,d\n"
        for index in 0..<200 {
            let label = index % 2
            let numbers = (0..<4).map { String(format: "%.4f", Double(label * ($0 % 2)) + 0.3 * random.normal()) }
            text += "\(label),\(numbers.joined(separator: ","))\n"
        }
        try write(text, "clouds.csv")
        try write(
            """
            data: ../clouds.csv
            model:
              input: {shape: [4]}
              layers: [{type: linear, out_features: 2}]
              loss: cross_entropy
            fleet: simulated
            workers: 4
            rounds: 3
            local_epochs: 1
            batch_size: 10
            learning_rate: 0.2
            """, "settings/clouds.yaml")
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func write(_ text: String, _ name: String) throws {
        let path = folder + "/" + name
        try Files.createDirectory(Files.parent(of: path) ?? folder)
        try Files.writeAtomically(Array(text.utf8), to: path)
    }

    func start(_ settings: [(key: String, text: String)] = []) throws -> RunHandle {
        try application.start(TrainRequest(file: "settings/clouds.yaml", settings: settings))
    }
}

@Suite("The application, without a terminal", .timeLimit(.minutes(1)))
struct ApplicationTests {
    @Test("a run is started, followed by two of whom one is stuck, and its folder answers every question")
    func wholeRun() async throws {
        let place = try Workplace()
        let run = try place.start()
        #expect(run.folder.path == place.folder + "/runs/clouds")
        let release = DispatchSemaphore(value: 0)
        let stuck = run.feed.observe { _ in release.wait() }
        var names: [String] = []
        for try await entry in run.feed.subscribe(from: .beginning) { names.append(entry.event.kind.name) }
        let summary = try await run.summary()
        release.signal()
        stuck.stop()
        #expect(names.first == "run_started" && names.last == "run_finished")
        #expect(names.count { $0 == "attempt_succeeded" } == 12 && names.count { $0 == "round_finished" } == 3)
        #expect(summary.rounds == 3 && (summary.accuracy ?? 0) > 0.9)
        #expect(Files.exists(run.folder.report))

        // The same as another process would find it, from the middle too.
        var entries: [JournalEntry] = []
        for try await entry in try place.application.follow("runs/clouds") { entries.append(entry) }
        #expect(entries.map(\.event.kind.name) == names)
        var rest: [JournalEntry] = []
        for try await entry in try place.application.follow("runs/clouds", after: entries[4].position) {
            rest.append(entry)
        }
        #expect(rest == Array(entries.dropFirst(5)))

        let runs = try place.application.runs()
        #expect(runs.map(\.run) == ["runs/clouds"] && runs.map(\.state) == [.finished])
        #expect(runs[0].rounds == 3 && runs[0].of == 3 && runs[0].accuracy == summary.accuracy)
        #expect(runs[0].costGLM == nil && runs[0].fleet == "simulated")

        let test = try place.application.evaluate(
            EvaluateRequest(model: "runs/clouds/model.safetensors", data: DataRequest(data: "clouds.csv")))
        #expect(test.evaluation.accuracy == summary.accuracy && test.evaluation.loss == summary.loss)
        #expect(test.classes == ["0", "1"])

        try place.write("0,1,0,1\n0,0,0,0\n", "new.csv")
        let answer = try place.application.predict(
            PredictRequest(model: "runs/clouds", data: DataRequest(data: "new.csv"), output: "out.csv"))
        #expect(answer.predictions.map(\.predicted) == ["1", "0"] && answer.predictions.allSatisfy { $0.truth == nil })
        let written = try Files.read(place.folder + "/out.csv", maximumBytes: 1 << 16)
        #expect(String(decoding: written, as: UTF8.self).hasPrefix("example,predicted,0,1\n0,1,"))

        guard case .own(let inspection) = try place.application.inspect("runs/clouds/best.safetensors") else {
            Issue.record("our own file was taken for another tool's")
            return
        }
        #expect(inspection.kind == .weights)
        try Files.remove(run.folder.report)
        #expect(try place.application.report("runs/clouds") == run.folder.report && Files.exists(run.folder.report))
    }

    @Test("a cancelled run keeps its finished rounds, is resumed to the bytes of an undisturbed one, and compared")
    func cancelAndResume() async throws {
        let place = try Workplace()
        let run = try place.start([("output", "stopped"), ("rounds", "500"), ("comparison", "false")])
        for try await entry in run.feed.subscribe() {
            if case .roundFinished(let metrics) = entry.event.kind, metrics.round == 2 { break }
        }
        run.cancel()
        let error = await #expect(throws: RunInterrupted.self) { try await run.summary() }
        let finished = try #require(error?.finishedRounds)
        #expect(finished >= 2 && finished < 500)
        let status = try #require(try place.application.runs(["stopped"]).first)
        #expect(status.state == .interrupted && status.rounds == finished && status.of == 500)
        #expect(throws: DeMLError.self) { try place.application.compare(["stopped"]) }

        let wanted = "\(finished + 2)"
        // A run has its settings already; a goal that is reached ends it.
        #expect(throws: (any Error).self) {
            try place.application.start(TrainRequest(file: "settings/clouds.yaml", resume: "stopped"))
        }
        let resumed = try place.application.start(
            TrainRequest(resume: "stopped", settings: [("target_accuracy", "0.5")]))
        let reached = try await resumed.summary()
        #expect(reached.rounds >= finished)

        let undisturbed = try place.start([
            ("output", "whole"), ("rounds", "\(reached.rounds)"), ("comparison", "false"), ("local_epochs", "1"),
        ])
        let whole = try await undisturbed.summary()
        #expect(whole.modelSHA256 == reached.modelSHA256)
        let other = try place.start([
            ("output", "other"), ("rounds", wanted), ("comparison", "false"), ("learning_rate", "0.01"),
        ])
        _ = try await other.summary()
        let comparison = try place.application.compare(["whole", "other", "stopped"])
        #expect(comparison.rows.map(\.run) == ["whole", "other", "stopped"])
        #expect(comparison.rows[0].summary == whole)
        let rate = try #require(comparison.differences.first { $0.key == "learning_rate" })
        #expect(rate.values == ["0.2", "0.01", "0.2"])
        #expect(!comparison.differences.contains { $0.key == "output" || $0.key == "seed" })
    }

    @Test("the best round is the same wherever it is told, also of a finished run that goes on and is stopped")
    func bestRound() async throws {
        let place = try Workplace()
        let first = try await place.start([("output", "more"), ("rounds", "2"), ("comparison", "false")]).summary()
        func told() throws -> [Int?] {
            let metrics = try RunFolder(path: place.folder + "/more").readMetrics()
            let report = try String(contentsOfFile: place.folder + "/more/report.html", encoding: .utf8)
            return [
                RoundMetrics.best(of: metrics)?.round, try place.application.runs(["more"])[0].bestRound,
                report.firstMatch(of: /The best model, of round ([0-9]+),/).flatMap { Int($0.1) },
            ]
        }
        #expect(try told() == [first.bestRound, first.bestRound, first.bestRound])

        let more = try place.application.start(TrainRequest(resume: "more", settings: [("rounds", "500")]))
        for try await entry in more.feed.subscribe() {
            if case .roundFinished(let metrics) = entry.event.kind, metrics.round == 4 { break }
        }
        more.cancel()
        await #expect(throws: RunInterrupted.self) { try await more.summary() }
        let now = try told()
        #expect(Set(now).count == 1 && now[0] != nil)
        // What it was at its end is not what it is.
        #expect(throws: DeMLError.self) { try place.application.compare(["more"]) }
    }

    @Test("cancelling the one who waits for a run cancels the run")
    func cancelledWaiter() async throws {
        let place = try Workplace()
        let run = try place.start([("rounds", "500"), ("comparison", "false")])
        let waiting = Task { try await run.summary() }
        for try await entry in run.feed.subscribe() {
            if case .roundFinished = entry.event.kind { waiting.cancel() }
        }
        await #expect(throws: RunInterrupted.self) { try await waiting.value }
    }

    @Test("everything that is wrong with the settings is told at once, options by their own names")
    func wrongSettings() async throws {
        let place = try Workplace()
        let error = #expect(throws: ConfigurationError.self) {
            try place.start([("workers", "0"), ("optimizer", "adagrad"), ("fleet", "cloud")])
        }
        #expect(error?.problems.map(\.key).sorted() == ["--on", "--optimizer", "--workers"])
        // Paths of the file are seen from its folder, those of options from the working folder.
        let missing = #expect(throws: DeMLError.self) { try place.start([("data", "../clouds.csv")]) }
        #expect(missing?.code == .notFound)
        let gone = #expect(throws: DeMLError.self) { try place.application.start(TrainRequest(file: "no.yaml")) }
        #expect(gone?.code == .notFound && gone?.place == "no.yaml")
    }

    @Test("two applications with different working folders are in one process")
    func twoFolders() async throws {
        let (first, second) = (try Workplace(), try Workplace())
        let shards = try first.application.shard(
            ShardRequest(
                data: DataRequest(data: "clouds.csv", testFraction: 0.5), parts: 3, output: "~/shards"))
        #expect(shards.folder == first.folder + "/home/shards" && shards.shards.shards.count == 3)
        #expect(try second.application.runs().isEmpty)
        #expect(first.application.paths.shown(first.folder + "/x/y") == "x/y")
        #expect(second.application.paths.shown(first.folder + "/x/y") == first.folder + "/x/y")
    }
}
