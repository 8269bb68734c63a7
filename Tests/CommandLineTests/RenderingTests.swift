import CommandLineSupport
import Reports
import Testing

@Suite struct RenderingTests {
    @Test func boardShowsEveryStage() {
        var board = ProgressBoard(round: 2, rounds: 3, clients: [0, 1, 2, 7], epochs: 5)
        board.update(client: 0) {
            $0.worker = "worker 1"
            $0.stage = .training
            $0.epoch = 3
            $0.loss = 0.0831
            $0.samplesPerSecond = 41_200
        }
        board.update(client: 1) {
            $0.worker = "worker 2"
            $0.stage = .done
            $0.loss = 0.0778
            $0.samplesPerSecond = 45_500
        }
        board.update(client: 2) {
            $0.worker = "worker 3"
            $0.stage = .failed("killed by signal 9")
        }
        #expect(
            board.lines(seconds: 1.3, paint: Paint(false), width: 90) == [
                "round 2/3  ━━━━━━━━━━━━──────────────────  1 of 4 in  1.30 s",
                "  ▸ worker 1  shard 0  epoch 4/5  ━━━━━━────  loss 0.0831   41,200 samples/s",
                "  ✓ worker 2  shard 1  epoch 5/5  ━━━━━━━━━━  loss 0.0778   45,500 samples/s",
                "  ✗ worker 3  shard 2  failed: killed by signal 9",
                "  ·           shard 7  waiting",
            ])
    }

    @Test func boardNeverPassesTheWidth() {
        var board = ProgressBoard(round: 12, rounds: 100, clients: Array(0..<40), epochs: 20)
        for client in 0..<40 {
            board.update(client: client) {
                $0.worker = "a provider with a long name \u{1B}[2J \(client)"
                $0.stage =
                    client % 3 == 0 ? .training : client % 3 == 1 ? .done : .failed("a\nlong message that goes on")
                $0.loss = 1.5
                $0.samplesPerSecond = 1234
            }
        }
        board.note = "averaging"
        for width in [40, 60, 80, 200] {
            for colour in [false, true] {
                let lines = board.lines(seconds: 100, paint: Paint(colour), width: width)
                #expect(lines.count == ProgressBoard.mostRows + 2)
                #expect(lines.allSatisfy { TextWidth.of($0) <= width }, "width \(width)")
                #expect(lines.allSatisfy { !$0.contains("\n") && !$0.contains("\u{1B}[2J") })
            }
        }
    }

    @Test func boardNeverPassesTheHeight() {
        let board = ProgressBoard(round: 1, rounds: 1, clients: Array(0..<30))
        for height in 3...20 {
            let lines = board.lines(seconds: 0, paint: Paint(false), width: 80, height: height)
            #expect(lines.count <= height)
            #expect(lines.count == min(height, ProgressBoard.mostRows + 2))
        }
    }

    @Test("no number ends a display", arguments: [Double.nan, .infinity, -.infinity, 1e300, -1e300])
    func hostileNumbers(value: Double) {
        var board = ProgressBoard(round: 1, rounds: 1, clients: [0])
        for epoch in [Int.min, -1, 0, 1, .max] {
            board.update(client: 0) {
                $0.stage = .training
                $0.epoch = epoch
                $0.epochs = .max
                $0.loss = value
                $0.samplesPerSecond = value
            }
            #expect(board.lines(seconds: value, paint: Paint(true), width: 80).count == 2)
        }
        let worker = RunReport.Worker(name: "w", tasks: 1, examples: 10, seconds: value, samplesPerSecond: value)
        #expect(RunText.workers([worker], paint: Paint(false), width: 100).count == 3)
        #expect(!Figures.rate(value).isEmpty && !Figures.duration(value).isEmpty && !Figures.loss(value).isEmpty)
    }

    @Test func boardShowsThoseAtWorkFirst() {
        var board = ProgressBoard(round: 1, rounds: 1, clients: Array(0..<30))
        for client in 0..<28 { board.update(client: client) { $0.stage = .done } }
        board.update(client: 29) { $0.stage = .training }
        let lines = board.lines(seconds: 0, paint: Paint(false), width: 100)
        #expect(lines.contains { $0.contains("shard 29") })
        #expect(lines.contains { $0.contains("shard 28") })
        #expect(lines.last == "  … 18 more")
    }

    @Test func roundLine() {
        let round = RunReport.Round(
            number: 2, accuracy: 0.9655, loss: 0.113, seconds: 2.1, bytesUp: 1_220_000, bytesDown: 1_140_000,
            clients: 3,
            failures: 1)
        #expect(
            RunText.round(round, of: 12, paint: Paint(false))
                == "round  2/12   accuracy 96.55 %   loss 0.1130   3 clients    2.10 s   ↑ 1.22 MB  ↓ 1.14 MB   1 failed"
        )
    }

    @Test func roundLineOfRegressionHasNoAccuracy() {
        let round = RunReport.Round(number: 1, accuracy: .nan, loss: 0.5, seconds: 1, clients: 1)
        let line = RunText.round(round, of: 1, paint: Paint(false))
        #expect(line == "round 1/1   loss 0.5000   1 client    1.00 s")
    }

    @Test func comparisonTable() {
        let places = [
            RunReport.Place(
                .federated, name: "federated, 3 workers", accuracy: 0.9761, loss: 0.0782, seconds: 6.3, bytes: 7_080_000
            ),
            RunReport.Place(.onePlace, name: "one place", accuracy: 0.9801, loss: 0.0698, seconds: 15.1),
        ]
        #expect(
            RunText.comparison(places, paint: Paint(false), width: 80) == [
                "                        accuracy    loss    time    bytes",
                "  ───────────────────────────────────────────────────────",
                "  federated, 3 workers   97.61 %  0.0782  6.30 s  7.08 MB",
                "  one place              98.01 %  0.0698  15.1 s        –",
            ])
    }

    @Test func slowestWorkersAreShownWhenThereAreMany() {
        let workers = (0..<30).map { RunReport.Worker(name: "w\($0)", tasks: 1, examples: 10, seconds: Double($0)) }
        let lines = RunText.workers(workers, most: 5, paint: Paint(false), width: 100)
        #expect(lines.count == 2 + 5 + 1)
        #expect(lines[2].hasPrefix("  w29"))
        #expect(lines.last == "  … and 25 faster ones")
    }

    @Test func labelsOfShards() {
        #expect(
            RunText.labelDistribution(
                [[1200, 0], [3, 44]], classes: ["cat", "dog"], paint: Paint(false), width: 80) == [
                    "  shard  examples    cat  dog",
                    "  ───────────────────────────",
                    "  0         1,200  1,200    ·",
                    "  1            47      3   44",
                ])
    }

    @Test func textsAreShortenedInTheMiddleAndUseTheWidth() {
        let table = TextTable(
            [.init("setting", toRight: false), .init("fashion-cnn-2026-11-29", isText: true), .init("n")],
            rows: [["a", "a-value-that-is-long-and-ends-in-7", "123"]])
        for width in [24, 30, 40, 60, 400] {
            let lines = table.lines(width: width)
            #expect(lines.allSatisfy { TextWidth.of($0) <= width }, "\(lines)")
            #expect(lines.last?.hasSuffix("123") == true)
            #expect(lines.last?.contains("7  123") == true, "the end is kept: \(lines)")
        }
        #expect(table.lines(width: 400).last?.contains("a-value-that-is-long-and-ends-in-7") == true)
        #expect(TextWidth.shortened("fashion-cnn-2026-11-29", to: 11) == "fashi…11-29")
        for width in 0...12 { #expect(TextWidth.of(TextWidth.shortened("数字数字abc数字", to: width)) <= max(1, width)) }
    }

    @Test func aTableMayBeTurned() {
        let table = TextTable(
            [.init("run", toRight: false), .init("accuracy"), .init("time")],
            rows: [["first-of-a-long-name", "97.71 %", "1.00 s"], ["second", "9.00 %"]])
        #expect(table.leastWidth == 2 + 8 + 2 + 8 + 2 + 6)
        #expect(
            table.turned.lines(width: 40) == [
                "            first-of-a-long-name  second",
                "  ──────────────────────────────────────",
                "  accuracy               97.71 %  9.00 %", "  time                    1.00 s",
            ])
    }

    @Test func theLineOfARoundLeavesOutWhatMattersLeast() {
        var round = RunReport.Round(number: 8, accuracy: 0.8525, loss: 0.6704, seconds: 0.16, clients: 3)
        (round.bytesUp, round.bytesDown) = (2150, 1_230_000)
        func line(_ width: Int) -> String { RunText.round(round, of: 9, paint: Paint(true), width: width) }
        for width in [60, 80, 82, 90] { #expect(TextWidth.of(line(width)) <= width, "\(width): \(line(width))") }
        #expect(line(90).contains("3 clients   ") && line(90).contains("1.23 MB"))
        #expect(line(80).contains("1.23 MB") && !line(80).contains("client"))
        #expect(line(60).contains("0.16 s") && !line(60).contains("MB"))
    }

    @Test func theBestRoundIsNotCutFromTheLiveLines() {
        var board = ProgressBoard(round: 12, rounds: 100, clients: Array(0..<100))
        board.note = "averaging and testing"
        board.outlook = "about 12 min 30 s left   best validation 97.11 % in round 100"
        for width in [80, 100, 200] {
            let lines = board.lines(seconds: 62, paint: Paint(false), width: width, height: 8)
            #expect(lines[1] == "  about 12 min 30 s left   best validation 97.11 % in round 100")
            #expect(lines.count == 8 && lines.allSatisfy { TextWidth.of($0) <= width })
        }
    }

    @Test func tableCutsOnlyNames() {
        let table = TextTable(
            [.init("name", toRight: false), .init("value")],
            rows: [["a very long name of a provider indeed", "123456"]])
        for line in table.lines(width: 30) { #expect(TextWidth.of(line) <= 30) }
        #expect(table.lines(width: 30).last?.hasSuffix("123456") == true)
    }
}

@Suite struct OutlookTests {
    @Test func theTimeLeftIsTheMedianOfTheNewestRounds() {
        var outlook = Outlook()
        #expect(outlook.text(round: 1, of: 10, elapsed: 3) == "")
        // The first had to wait for machines.
        for seconds in [600, 10, 11, 9, .nan] as [Double] { outlook.finished(seconds: seconds) }
        #expect(outlook.secondsLeft(round: 5, of: 10, elapsed: 4) == 62.0)
        #expect(outlook.secondsLeft(round: 10, of: 10, elapsed: 40) == 0.0)
        #expect(outlook.text(round: 10, of: 10, elapsed: 4.8) == "about 7 s left")
        outlook.best = "97.11 % in round 3"
        #expect(outlook.text(round: 5, of: 10, elapsed: 0) == "about 1 min 06 s left   best 97.11 % in round 3")
    }
}

@Suite struct CurveChartTests {
    private func curve(_ name: String, _ values: [Double]) -> CurveChart.Line {
        .init(name: name, points: values.enumerated().map { .init(round: $0.offset, value: $0.element) })
    }

    @Test func runsShareOneAxis() {
        let chart = CurveChart(
            title: "Test accuracy", lines: [curve("one", [0.1, 0.5, 0.6, 0.7]), curve("two", [0.1, 0.9, 0.8, 0.7])],
            height: 5)
        #expect(
            chart.drawn(width: 40) == [
                "  Test accuracy",
                "    a one",
                "    b two",
                "  90.0 % ┤bbbb",
                "         ┤    bbbbbbbb",
                "  70.0 % ┤            ****",
                "         ┤    aaaaaaaa",
                "  50.0 % ┤aaaa",
                "         └────────────────",
                "          round 1        3",
            ], "\(chart.drawn(width: 40).joined(separator: "\n"))")
    }

    @Test func everyNumberOfRunsFits() {
        for count in [1, 2, 8, 20] {
            for width in [40, 80, 200] {
                let lines = (0..<count).map { run in
                    curve(String(repeating: "long-name-", count: 12), (0...200).map { Double($0 + run) / 300 })
                }
                let drawn = CurveChart(title: "t", lines: lines).drawn(width: width)
                #expect(drawn.allSatisfy { TextWidth.of($0) <= width }, "\(count) runs in \(width) columns")
            }
        }
        #expect(CurveChart(title: "t", lines: [curve("a", [1, .nan])]).drawn().isEmpty)
    }
}

@Suite struct LearningCurveTests {
    @Test func fewRoundsAreWideBars() {
        let curve = LearningCurve(
            title: "Test accuracy",
            points: [.init(round: 1, value: 0.9431), .init(round: 2, value: 0.9655), .init(round: 3, value: 0.9761)],
            level: ("one place", 0.9801))
        #expect(
            curve.lines(width: 80) == [
                "  Test accuracy   ╌╌ one place",
                "  99.0 % ┤",
                "         ┤╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌",
                "         ┤                    ▆▆▆▆▆▆▆▆▆",
                "  96.5 % ┤          ▁▁▁▁▁▁▁▁▁ █████████",
                "         ┤          █████████ █████████",
                "         ┤          █████████ █████████",
                "         ┤          █████████ █████████",
                "  94.0 % ┤▄▄▄▄▄▄▄▄▄ █████████ █████████",
                "         └──────────────────────────────",
                "          round 1                      3",
            ])
    }

    @Test func everyLengthFits() {
        for count in [1, 2, 5, 23, 72, 73, 1000] {
            for width in [40, 80, 200] {
                let points = (1...count).map { LearningCurve.Point(round: $0, value: 1 - 0.9 / Double($0)) }
                let lines = LearningCurve(title: "a", points: points).lines(width: width)
                #expect(lines.count == 11, "\(count) rounds")
                #expect(lines.allSatisfy { TextWidth.of($0) <= width }, "\(count) rounds in \(width) columns")
                #expect(lines.last?.hasSuffix("\(count)") == true, "\(count) rounds in \(width): \(lines.last ?? "")")
            }
        }
    }

    @Test func whatIsNotFiniteIsLeftOut() {
        let points = [LearningCurve.Point(round: 1, value: .nan), .init(round: 2, value: 0.5)]
        #expect(LearningCurve(title: "a", points: points, level: ("b", .infinity)).lines().count == 11)
        #expect(LearningCurve(title: "a", points: [.init(round: 1, value: .nan)]).lines().isEmpty)
    }
}

@Suite struct ImageArtTests {
    @Test func greyWithoutColour() {
        let lines = ImageArt.lines(pixels: [0, 1, 0, 1, 1, 0.5], height: 3, width: 2, paint: Paint(false))
        #expect(lines == [" █", "▒░"])
    }

    @Test func halfBlocksWithColour() {
        let lines = ImageArt.lines(pixels: [0, 1], height: 2, width: 1, paint: Paint(true))
        #expect(lines == ["\u{1B}[38;5;232;48;5;255m▀\u{1B}[0m"])
    }

    @Test func besideFillsShorterBlocks() {
        #expect(ImageArt.beside([["aa", "aa"], ["b"]]) == ["aa  b", "aa"])
    }

    @Test func bars() {
        #expect(ImageArt.bar(0.5, width: 4) == "██  ")
        #expect(ImageArt.bar(0.53, width: 4) == "██▏ ")
        #expect(ImageArt.bar(2, width: 2) == "██")
        #expect(ImageArt.bar(.nan, width: 2) == "  ")
        #expect(ImageArt.progress(0.5, width: 4, paint: Paint(false)) == "━━──")
    }
}
