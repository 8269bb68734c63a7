import Application
import Federation
import Foundation
import Tensors
import Testing

@Suite("Runs that belong together", .timeLimit(.minutes(2)))
struct TrialTests {
    @Test("of n trials a third goes on with three times the rounds, until one is left")
    func halving() {
        func rungs(_ trials: Int, _ rounds: Int, _ factor: Int) -> [[Int]] {
            SuccessiveHalving(trials: trials, rounds: rounds, factor: factor).rungs.map { [$0.rounds, $0.trials] }
        }
        #expect(rungs(9, 9, 3) == [[1, 9], [3, 3], [9, 1]])
        #expect(SuccessiveHalving(trials: 9, rounds: 9, factor: 3).work == 21)
        #expect(rungs(7, 30, 3) == [[3, 7], [10, 3], [30, 1]])
        #expect(rungs(9, 1, 3) == [[1, 9]])
        #expect(
            rungs(9, 2, 3) == [[1, 9], [2, 1]] || rungs(9, 2, 3) == [[1, 9], [2, 3]] || rungs(9, 2, 3).last?[0] == 2)
        #expect(rungs(1, 5, 2) == [[5, 1]])
        for trials in 1...40 {
            for rounds in [1, 2, 5, 27, 100] {
                for factor in [2, 3, 5] {
                    let all = rungs(trials, rounds, factor)
                    #expect(all.first?[1] == trials && all.last?[0] == rounds)
                    #expect(zip(all, all.dropFirst()).allSatisfy { $0[0] < $1[0] && $0[1] > $1[1] })
                    #expect(SuccessiveHalving(trials: trials, rounds: rounds, factor: factor).work <= trials * rounds)
                }
            }
        }
    }

    @Test("a setting and its values are read, or refused with what is wrong")
    func axes() throws {
        let list = try SweepAxis(parsing: "learning-rate=0.01, 0.1,1")
        #expect(list.key == "learning_rate" && list.values == ["0.01", "0.1", "1"])
        #expect(try SweepAxis(parsing: "learning_rate=0.01..1:5").values == ["0.01", "0.0316", "0.1", "0.316", "1"])
        #expect(
            try SweepAxis(parsing: "schedule={type: step, step_size: 3},{type: constant}").values
                == ["{type: step, step_size: 3}", "{type: constant}"])
        for (text, message) in [
            ("learning_rate", "no setting with values"), ("learning_rat=1,2", "'learning_rat'"),
            ("rounds=1,2", "not for a sweep"), ("learning_rate=1", "1 values"), ("learning_rate=1,1", "twice"),
            ("learning_rate=0..1:3", "no range"), ("learning_rate=1..0.1:3", "no range"),
            ("learning_rate=0.1..1:x", "no range"), ("learning_rate=0.1..1:1000000000", "no range"),
            ("learning_rate=" + (0..<101).map(String.init).joined(separator: ","), "101 values"),
        ] {
            let error = #expect(throws: DeMLError.self) { try SweepAxis(parsing: text) }
            #expect(error?.message.contains(message) == true, "\(text): \(String(describing: error))")
            #expect(error?.exitCode == 64)
        }
    }

    private static func finish(_ repetition: Repetition) async throws -> RepetitionSummary {
        var summaries: [Summary] = []
        for index in repetition.seeds.indices {
            switch try repetition.start(index) {
            case .finished(let summary): summaries.append(summary)
            case .running(let handle): summaries.append(try await handle.summary())
            }
        }
        return try repetition.finish(summaries)
    }

    @Test("a run is repeated with other seeds; mean and deviation are those of its results")
    func repetition() async throws {
        let place = try Workplace()
        func request(_ count: String) -> TrainRequest {
            TrainRequest(
                file: "settings/clouds.yaml",
                settings: [("repeat", count), ("seed", "7"), ("output", "many"), ("comparison", "false")])
        }
        #expect(try place.application.repetition(request("1")) == nil)
        #expect(throws: (any Error).self) { try place.application.start(request("3")) }
        let repetition = try #require(try place.application.repetition(request("3")))
        #expect(repetition.seeds == [7, 8, 9])
        let summary = try await Self.finish(repetition)
        #expect(Set(summary.runs.map(\.summary.modelSHA256)).count == 3)
        let losses = summary.runs.map(\.summary.loss)
        let mean = losses.reduce(0, +) / 3
        let deviation = (losses.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 2).squareRoot()
        let figure = try #require(summary.figures.first { $0.key == "loss" })
        #expect(abs(figure.mean - mean) < 1e-12 && abs((figure.deviation ?? 0) - deviation) < 1e-12)
        #expect(summary.figures.contains { $0.key == "roc_auc" })
        let page = String(
            decoding: try Files.read(place.folder + "/many/report.html", maximumBytes: 1 << 24), as: UTF8.self)
        #expect(page.contains("<td>mean</td>") && page.contains("<td>deviation</td>") && page.contains("seed-8"))

        // Each is the run that its seed alone gives.
        let alone = try place.start([("seed", "8"), ("comparison", "false")])
        #expect(try await alone.summary().modelSHA256 == summary.runs[1].summary.modelSHA256)
        // Stopped and gone on with: what is done stays, what is missing is done.
        try FileManager.default.removeItem(atPath: place.folder + "/many/seed-9")
        let again = try #require(try place.application.repetition(TrainRequest(resume: "many")))
        let resumed = try await Self.finish(again)
        #expect(resumed.runs.map(\.summary.modelSHA256) == summary.runs.map(\.summary.modelSHA256))
        #expect(throws: DeMLError.self) { try place.application.repetition(request("2")) }
    }

    @Test("where no model is given, runs that belong together train as one alone does")
    func chosenModel() async throws {
        let place = try Workplace()
        let rows = (0..<60).map { "\($0 % 7),\($0 % 5),\($0 % 7 + $0 % 5 > 5 ? "much" : "little")\n" }
        try place.write("a,b,kind\n" + rows.joined(), "t.csv")
        let settings = [("data", "t.csv"), ("label_column", "kind"), ("comparison", "false")]
        let repetition = try #require(
            try place.application.repetition(
                TrainRequest(settings: settings + [("repeat", "2"), ("rounds", "2"), ("output", "many")])))
        let summary = try await Self.finish(repetition)
        let alone = try place.application.start(
            TrainRequest(settings: settings + [("seed", "1"), ("rounds", "2"), ("output", "one")]))
        #expect(alone.configuration.training.optimizer == .sgd && alone.configuration.training.momentum == 0.9)
        #expect(try await alone.summary().modelSHA256 == summary.runs[1].summary.modelSHA256)

        let sweep = try place.application.sweep(
            SweepRequest(
                train: TrainRequest(settings: settings + [("output", "sizes")]),
                axes: [try SweepAxis(parsing: "batch_size=8,16")], factor: 3))
        let best = try #require(try await sweep.run().best)
        let trained = try RunFolder(path: sweep.folder + "/" + best).readConfiguration()
        #expect(trained.training.optimizer == .sgd && trained.training.localEpochs == 5)
        #expect(trained.federation.rounds == 10)
    }

    @Test("wrong settings leave no folder behind")
    func nothingIsLeft() throws {
        let place = try Workplace()
        let repetition = try #require(
            try place.application.repetition(
                TrainRequest(
                    file: "settings/clouds.yaml", settings: [("repeat", "2"), ("output", "many"), ("workers", "5000")]))
        )
        #expect(throws: (any Error).self) { _ = try repetition.start(0) }
        #expect(!Files.exists(place.folder + "/many"))
    }

    @Test("a sweep trains the better values longer, and goes on where it was stopped")
    func sweep() async throws {
        let place = try Workplace()
        func request(_ over: [String]) throws -> SweepRequest {
            SweepRequest(
                train: TrainRequest(
                    file: "settings/clouds.yaml", settings: [("rounds", "4"), ("output", "rates")]),
                axes: try over.map { try SweepAxis(parsing: $0) }, factor: 2)
        }
        #expect(throws: DeMLError.self) { try place.application.sweep(request([])) }
        // A value that is none is found before anything is trained.
        let wrong = #expect(throws: ConfigurationError.self) {
            try place.application.sweep(request(["learning_rate=0.1,much"]))
        }
        #expect(wrong?.problems.first?.key == "--learning-rate")
        #expect(!Files.exists(place.folder + "/rates"))

        let sweep = try place.application.sweep(request(["learning_rate=0.000001,0.00001,0.1,0.3"]))
        let summary = try await sweep.run()
        #expect(summary.rungs.map(\.rounds) == [1, 2, 4] && summary.rungs.map(\.trials) == [4, 2, 1])
        #expect(summary.trials.map(\.rounds).sorted() == [1, 1, 2, 4])
        #expect(summary.trials[0].rounds == 1 && summary.trials[1].rounds == 1, "the small ones learn nothing")
        let best = try #require(summary.trials.first { $0.name == summary.best })
        #expect(best.rounds == 4 && (best.accuracy ?? 0) > 0.9)
        // 4 + 2 + 2 rounds on the 144 examples beside test and validation set.
        #expect(summary.examples == 8 * 144 && summary.examplesOfGrid == 16 * 144)
        #expect(Files.exists(sweep.model(of: best.name)))
        // The best one is the run that its value alone gives.
        let alone = try place.start([
            ("learning_rate", best.values[0]), ("rounds", "4"), ("validation_fraction", "0.1"), ("comparison", "false"),
        ])
        _ = try await alone.summary()
        #expect(
            try Files.read(alone.folder.best, maximumBytes: 1 << 20)
                == Files.read(sweep.model(of: best.name), maximumBytes: 1 << 20))

        try FileManager.default.removeItem(atPath: place.folder + "/rates/\(best.name)")
        let again = try await place.application.sweep(
            SweepRequest(train: TrainRequest(resume: "rates"), axes: [])
        ).run()
        #expect(again == summary)
        #expect(throws: DeMLError.self) { try place.application.sweep(request(["learning_rate=0.1,0.2"])) }
    }

    @Test("what diverges is given up, and does not win")
    func divergingTrials() async throws {
        let place = try Workplace()
        let sweep = try place.application.sweep(
            SweepRequest(
                train: TrainRequest(
                    file: "settings/clouds.yaml",
                    settings: [("rounds", "2"), ("output", "rates"), ("optimizer", "sgd")]),
                axes: [
                    try SweepAxis(parsing: "learning_rate=0.1,1000000000"),
                    try SweepAxis(parsing: "weight_decay=0,1000"),
                ], factor: 2))
        let summary = try await sweep.run()
        #expect(summary.trials.count == 4 && summary.best != "trial-4" && summary.best != nil)
        #expect(summary.trials[3].failure != nil)
        #expect(try RunJSON.decode(SweepSummary.self, from: try RunJSON.encode(summary)) == summary)
    }
}
