import Reports
import Testing

@Suite struct ReportPageTests {
    @Test func showsEveryPartOfTheRun() {
        let page = RunReport.sample.html()
        for part in [
            "97.61 %", "Test accuracy", "Loss", "Compared with one place and one shard", "one shard alone", "Workers",
            "worker 2", "Labels on each shard", "shard 1", "Confusion matrix", "2 taken for 7", "Settings",
            "learning_rate", "abababab", "killed by signal 9", "Every round as a table",
        ] {
            #expect(page.contains(part), "the page lacks \"\(part)\"")
        }
    }

    @Test func isSelfContained() {
        let page = RunReport.sample.html()
        for forbidden in ["<script", "http:", "https:", "src=", "@import", "url(", "<link", "javascript:"] {
            #expect(!page.contains(forbidden), "the page contains \"\(forbidden)\"")
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

    @Test func bestIsTheFirstOfEquals() {
        var report = RunReport.sample
        report.rounds[0].accuracy = 0.98
        report.rounds[2].accuracy = 0.98
        report.rounds[2].loss = report.rounds[0].loss
        #expect(report.best?.number == report.rounds[0].number)
        report.rounds[2].loss /= 2
        #expect(report.best?.number == report.rounds[2].number)
    }

    @Test func bestOfARegressionIsTheLowestLossAndNoNaN() {
        func round(_ number: Int, _ loss: Double) -> RunReport.Round {
            .init(number: number, accuracy: .nan, loss: loss, seconds: 1)
        }
        var report = RunReport(
            title: "regression", rounds: [round(0, 9), round(1, 0.5), round(2, 0.25), round(3, 0.25)])
        #expect(report.best?.number == 2)
        #expect(report.html().contains("lowest loss, round 2"))
        #expect(report.html().split(separator: "<tr class=\"first\"").count == 2)
        report.rounds[0].loss = .nan
        report.rounds[2].loss = .nan
        #expect(report.best?.number == 3)
        report.rounds = [round(0, .nan)]
        #expect(report.best == nil && report.html().contains("test loss"))
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
                Place(name: "federated, 3 workers", accuracy: 0.9761, loss: 0.0782, seconds: 6.3, bytes: 7_080_000),
                Place(name: "one place", accuracy: 0.9801, loss: 0.0698, seconds: 15.1),
                Place(name: "one shard alone", accuracy: 0.9655, loss: 0.12, seconds: 5),
            ], classes: (0...9).map(String.init),
            labelCounts: (0..<3).map { shard in (0..<10).map { 1900 + 20 * shard + $0 } }, confusion: confusion,
            failures: ["round 2, shard 1: worker 2 was lost at train: killed by signal 9; given to another worker"],
            settings: [Setting("optimizer", "adam"), Setting("learning_rate", "0.001")],
            modelSHA256: String(repeating: "ab", count: 32))
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
