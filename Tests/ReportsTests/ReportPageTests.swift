import Reports
import Testing

@Suite struct ReportPageTests {
    @Test func showsEveryPartOfTheRun() {
        let page = RunReport.sample.html()
        for part in [
            "97.61 %", "Test accuracy", "Loss", "Compared with one place and one shard", "one shard alone", "Workers",
            "worker 2", "Labels on each shard", "shard 1", "Confusion matrix", "2 taken for 7", "Settings",
            "learning_rate", "abababab", "killed by signal 9", "Every round as a table",
            "97.61 %: 0.40 points below one place, 1.06 above one shard alone.", "4 → 2", "99 % sure, row 247",
            "What was decided about the data", "Layers of the model", "Warning: ", "divided by 255", "What to run next",
            "Agreements",
        ] {
            #expect(page.contains(part), "the page lacks \"\(part)\"")
        }
    }

    @Test func isSelfContained() {
        let page = RunReport.sample.html()
        // Pictures are in the page itself.
        let own = page.replacing("src=\"data:image/png;base64,", with: "")
        for forbidden in ["<script", "http:", "https:", "src=", "@import", "url(", "<link", "javascript:", "data:"] {
            #expect(!own.contains(forbidden), "the page contains \"\(forbidden)\"")
        }
        #expect(page.contains("prefers-color-scheme:dark"))
    }

    @Test func sameValuesGiveSameBytes() {
        #expect(RunReport.sample.html() == RunReport.sample.html())
    }

    @Test func everyElementIsClosed() throws {
        try expectBalanced(RunReport.sample.html())
        try expectBalanced(RunReport.manyClients.html())
        try expectBalanced(RunReport(title: "empty", rounds: []).html())
    }

    @Test func namesFromOutsideCannotChangeThePage() throws {
        var report = RunReport.sample
        let hostile = "</td><script>alert('x')</script>\"&\u{1B}[31m"
        report.title = hostile
        report.subtitle = hostile
        report.workers[0].name = hostile
        report.failures = [hostile]
        report.classes[3] = hostile
        report.settings[0].value = hostile
        report.places[1].name = hostile
        report.agreements[0].provider = hostile
        report.agreements[0].reason = hostile
        report.decisions[0].text = hostile
        report.commands[0].line = hostile
        report.mistakes[0].png = hostile
        report.stop = hostile
        let page = report.html()
        #expect(!page.contains("<script"))
        #expect(!page.contains("\u{1B}"))
        #expect(page.contains("&lt;script&gt;"))
        try expectBalanced(page)
    }

    @Test func divergedAndRegressionRunsHaveAPage() throws {
        var report = RunReport.sample
        report.rounds[2].loss = .nan
        report.rounds[2].accuracy = .nan
        report.places[2].loss = .infinity
        try expectBalanced(report.html())
        #expect(!report.html().lowercased().contains("nan"))

        for index in report.rounds.indices { report.rounds[index].accuracy = .nan }
        for index in report.places.indices { report.places[index].accuracy = .nan }
        report.classes = []
        report.confusion = []
        report.labelCounts = []
        let regression = report.html()
        try expectBalanced(regression)
        #expect(!regression.contains("Test accuracy"))
        #expect(!regression.contains("Confusion"))
    }

    @Test func manyShardsBecomeAHeatMap() {
        #expect(RunReport.manyClients.html().contains("A column is a shard"))
        #expect(!RunReport.sample.html().contains("A column is a shard"))
    }

    @Test func theBestRoundIsTheOneThatIsSaid() {
        var report = RunReport.sample
        report.bestRound = 2
        #expect(report.html().contains("best by the test set, round 2"))
        #expect(report.html().contains("best: round 2, 96.55 %"))
        report.bestRound = nil
        #expect(report.html().contains("No model is the best."))
        for index in report.rounds.indices { report.rounds[index].accuracy = .nan }
        report.bestRound = 2
        #expect(report.html().contains("lowest loss, round 2"))
        // The round in the table, and the federated model in the comparison.
        #expect(report.html().split(separator: "<tr class=\"first\"").count == 3)
    }

    @Test func anEarlyStopIsMarked() {
        var report = RunReport.sample
        #expect(!report.html().contains("stop:"))
        report.stop = "no better for 2 rounds"
        #expect(report.html().contains("stop: no better for 2 rounds"))
        #expect(report.html().contains("rounds, no better for 2 rounds"))
    }

    @Test func theLossHasALogarithmicAxisOnRequestWhereThereIsOne() {
        #expect(RunReport.sample.html().contains("id=\"loss-axis-logarithmic\""))
        var report = RunReport.sample
        report.rounds[0].loss = -0.1
        #expect(!report.html().contains("loss-axis-logarithmic"))
    }

    @Test func theSameThingHasTheSameColourEverywhere() {
        var report = RunReport.sample
        // One place has diverged and is not there: one shard keeps its colour.
        report.places.remove(at: 1)
        let page = report.html()
        #expect(page.contains("background:var(--third)") && page.contains("stroke:var(--third)"))
        #expect(!page.contains("background:var(--other)") && !page.contains("stroke:var(--other)"))
    }

    @Test func agreementsHaveTheirSettlement() {
        let page = RunReport.sample.html()
        for part in ["a1b2c3d4", "settled", "rejected: the price was not the agreed one", "0.00012 GLM"] {
            #expect(page.contains(part), "the page lacks \"\(part)\"")
        }
        #expect(page.contains("cost, 1 of 2 agreements settled"))
    }

    @Test func theTimeIncludesPreparation() {
        #expect(
            RunReport.sample.html().contains("in all: rounds 6.30 s, comparison 20.1 s, preparation and end 3.60 s"))
    }
}

@Suite struct VerdictTests {
    @Test(arguments: [
        (0.9771, 0.98, 0.971, "97.71 %: 0.29 points below one place, 0.61 above one shard alone."),
        (0.98, 0.98, 0.971, "98.00 %: the same as one place, 0.90 points above one shard alone."),
        (0.9771, .nan, 0.971, "97.71 %: 0.61 points above one shard alone."),
        (0.9771, .nan, .nan, "97.71 %."),
    ])
    func ofAClassifier(federated: Double, onePlace: Double, oneShard: Double, expected: String) {
        let report = RunReport(
            title: "", rounds: [],
            places: [
                .init(.federated, name: "", accuracy: federated, loss: 1, seconds: 1),
                .init(.onePlace, name: "", accuracy: onePlace, loss: 1, seconds: 1),
                .init(.oneShard, name: "", accuracy: oneShard, loss: 1, seconds: 1),
            ])
        #expect(report.verdict == expected)
    }

    @Test func ofARegressionTheLossesAreCompared() {
        var report = RunReport(
            title: "", rounds: [],
            places: [
                .init(.federated, name: "", accuracy: .nan, loss: 0.52, seconds: 1),
                .init(.onePlace, name: "", accuracy: .nan, loss: 0.5, seconds: 1),
            ])
        #expect(report.verdict == "Test loss 0.5200: 0.0200 above one place.")
        report.places[0].loss = .infinity
        #expect(report.verdict == "The training has diverged.")
    }

    @Test func ofARunUnderWay() {
        var report = RunReport(title: "", rounds: [.init(number: 0, accuracy: 0.1, loss: 2.3, seconds: 1)])
        #expect(report.verdict == "")
        report.rounds.append(.init(number: 1, accuracy: 0.9, loss: 0.3, seconds: 1))
        #expect(report.verdict == "90.00 % after round 1.")
    }
}

/// Every element that is opened is closed, in order. SVG shapes close themselves, `meta` needs no end.
func expectBalanced(_ page: String) throws {
    var open: [String] = []
    var rest = page[...]
    while let start = rest.firstIndex(of: "<") {
        let end = try #require(rest[start...].firstIndex(of: ">"), "a tag without an end")
        let tag = rest[rest.index(after: start)..<end]
        rest = rest[rest.index(after: end)...]
        if tag.hasPrefix("!") || tag.hasPrefix("meta") || tag.hasSuffix("/") { continue }
        if tag.hasPrefix("/") {
            let name = String(tag.dropFirst())
            #expect(open.popLast() == name, "</\(name)> closes nothing")
        } else {
            open.append(String(tag.prefix { $0 != " " }))
        }
    }
    #expect(open.isEmpty, "not closed: \(open)")
}

extension RunReport {
    static var sample: RunReport {
        let accuracies = [0.9431, 0.9655, 0.9761]
        let losses = [0.19, 0.113, 0.0782]
        var confusion = (0..<10).map { row in (0..<10).map { $0 == row ? 970 + row : ($0 + row) % 3 } }
        confusion[2][7] = 21
        return RunReport(
            title: "mnist-mlp", subtitle: "101,770 parameters, adam, 3 local workers",
            rounds: (0..<3).map { index in
                Round(
                    number: index + 1, accuracy: accuracies[index], loss: losses[index], trainLoss: losses[index] * 0.9,
                    seconds: 2.1, bytesUp: 1_220_000, bytesDown: 1_140_000, clients: 3, failures: index == 1 ? 1 : 0)
            },
            workers: (1...3).map { index in
                Worker(
                    name: "worker \(index)", tasks: 3, failures: index == 2 ? 1 : 0, examples: 300_000, seconds: 6.2,
                    samplesPerSecond: 48_211, bytesUp: 1_000_000, bytesDown: 1_100_000)
            },
            places: [
                Place(
                    .federated, name: "federated, 3 workers", accuracy: 0.9761, loss: 0.0782, seconds: 6.3,
                    bytes: 7_080_000),
                Place(.onePlace, name: "one place", accuracy: 0.9801, loss: 0.0698, seconds: 15.1),
                Place(.oneShard, name: "one shard alone", accuracy: 0.9655, loss: 0.12, seconds: 5),
            ], classes: (0...9).map(String.init),
            labelCounts: (0..<3).map { shard in (0..<10).map { 1900 + 20 * shard + $0 } }, confusion: confusion,
            failures: ["round 2, shard 1: worker 2 was lost at train: killed by signal 9; given to another worker"],
            settings: [Setting("optimizer", "adam"), Setting("learning_rate", "0.001")],
            modelSHA256: String(repeating: "ab", count: 32), bestRound: 3,
            agreements: [
                Agreement(
                    provider: "ada", id: "a1b2c3d4e5f6", tasks: 5, seconds: 31, billed: 0.00012, paid: 0.00012,
                    state: "settled"),
                Agreement(
                    provider: "bert", id: "99887766", tasks: 4, seconds: 30, billed: 0.5, paid: 0, state: "rejected",
                    reason: "the price was not the agreed one"),
            ], cost: 0.00012,
            decisions: [
                Decision("label", "'digit' (the last column)"),
                Decision("range", "numbers within 0 and 1, divided by 255", isWarning: true),
            ], mistakes: [Mistake(row: 247, truth: 4, predicted: 2, probability: 0.987, png: "iVBORw0KGgo=")],
            commands: [Command("Try it on examples of your own", "deml predict --model runs/mnist-mlp --data FILE")],
            times: Times(whole: 30, rounds: 6.3, comparison: 20.1),
            model: Model(head: ["layer", "type"], rows: [["0", "flatten"]], note: "101,770 parameters"))
    }

    static var manyClients: RunReport {
        var report = sample
        report.labelCounts = (0..<100).map { shard in (0..<10).map { $0 == shard % 10 ? 300 : 0 } }
        report.workers = (0..<40).map { Worker(name: "simulated \($0)", tasks: 12, examples: 7200, seconds: 30) }
        report.rounds = (1...120).map {
            Round(number: $0, accuracy: 1 - 0.6 / Double($0), loss: 2 / Double($0), seconds: 3, clients: 10)
        }
        return report
    }
}
