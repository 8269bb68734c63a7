import CommandLineSupport
import Reports
import Testing

/// Nothing that is shown may end the program, whatever number a file, a worker or a provider has put into it.
@Suite struct ExtremeNumberTests {
    static let doubles: [Double] = [
        0, -0.0, 1, -1, 0.5, 59.95, 1e9, 1e15, 9.3e18, -9.3e18, 1e300, -1e300, .greatestFiniteMagnitude,
        -.greatestFiniteMagnitude, .leastNonzeroMagnitude, .infinity, -.infinity, .nan,
    ]
    static let integers: [Int] = [0, 1, -1, 999, 1 << 53, .max - 1, .max, .min]

    private func number(_ index: Int) -> Double { Self.doubles[index % Self.doubles.count] }
    private func whole(_ index: Int) -> Int { Self.integers[index % Self.integers.count] }
    /// Every combination of a few numbers would be millions; each walks through its list at a pace of its own instead.
    private let steps = 0..<(doubles.count * integers.count * 5)

    @Test func figures() {
        for value in Self.doubles {
            for digits in [0, 1, 4] {
                #expect(!Figures.percent(value, digits: digits).isEmpty)
                #expect(!Figures.decimal(value, digits: digits).isEmpty)
            }
            #expect(!Figures.loss(value).isEmpty && !Figures.duration(value).isEmpty && !Figures.rate(value).isEmpty)
            #expect(!Figures.cost(value).isEmpty && !Figures.short(value).isEmpty && !Figures.grouped(value).isEmpty)
        }
        for value in Self.integers { #expect(!Figures.bytes(value).isEmpty && !Figures.grouped(value).isEmpty) }
    }

    @Test func axes() {
        for low in Self.doubles {
            for high in Self.doubles {
                for bounds in [(-Double.infinity, Double.infinity), (0, 1), (0, .infinity)] {
                    let axis = Axis(covering: [low, high], floor: bounds.0, ceiling: bounds.1)
                    let context = "\(low), \(high) in \(bounds) gave \(axis)"
                    #expect(axis.lower.isFinite && axis.upper.isFinite && axis.upper > axis.lower, "\(context)")
                    #expect((1...20).contains(axis.ticks.count), "\(context)")
                    for value in Self.doubles { #expect((0...1).contains(axis.position(value)), "\(context)") }
                }
            }
        }
        for low in Self.integers {
            for high in Self.integers where low <= high {
                let axis = Axis(counting: low...high)
                #expect((1...20).contains(axis.ticks.count) && axis.upper > axis.lower, "\(low)...\(high): \(axis)")
            }
        }
    }

    @Test func curves() {
        for step in steps {
            let points = (0..<3).map { LearningCurve.Point(round: whole(step + $0), value: number(step * 7 + $0 * 5)) }
            let curve = LearningCurve(
                title: "a", points: points, level: ("b", number(step / 3)), floor: step % 2 == 0 ? 0 : -.infinity,
                ceiling: step % 3 == 0 ? 1 : .infinity, written: { Figures.short($0) })
            _ = curve.lines(width: 80)
            _ = ImageArt.bar(number(step), width: 10)
            _ = ImageArt.progress(number(step), width: 10, paint: Paint(false))
            _ = ImageArt.lines(
                pixels: (0..<4).map { Float(number(step + $0)) }, height: 2, width: 2, paint: Paint(step % 2 == 0))
        }
    }

    @Test func board() {
        for step in steps {
            var board = ProgressBoard(round: whole(step), rounds: whole(step + 3), clients: [0, whole(step + 1)])
            for client in [0, whole(step + 1)] {
                board.update(client: client) {
                    $0.stage = [.training, .fetching, .done, .sending][step % 4]
                    $0.epoch = whole(step / 2)
                    $0.epochs = whole(step / 7)
                    $0.fraction = number(step)
                    $0.loss = number(step + 1)
                    $0.samplesPerSecond = number(step / 3)
                }
            }
            let lines = board.lines(seconds: number(step + 2), paint: Paint(false), width: 80, height: whole(step + 5))
            #expect(lines.count >= 2 && lines.allSatisfy { TextWidth.of($0) <= 80 })
        }
    }

    @Test func textAndPage() {
        // Steps of 7 still meet every number of both lists.
        for step in stride(from: 0, to: steps.upperBound, by: 7) {
            let rounds = (0..<3).map { index in
                RunReport.Round(
                    number: whole(step + index), accuracy: number(step + index), loss: number(step / 2 + index),
                    trainLoss: number(step / 3), seconds: number(step / 5 + index), bytesUp: whole(step / 3 + index),
                    bytesDown: whole(step / 7), cost: number(step / 11 + index), clients: whole(step / 4),
                    failures: whole(step / 9))
            }
            let workers = (0..<3).map { index in
                RunReport.Worker(
                    name: "w", tasks: whole(step + index), failures: whole(step / 2), examples: whole(step / 3),
                    seconds: number(step), samplesPerSecond: number(step / 2 + index), bytesUp: whole(step / 5),
                    bytesDown: whole(step / 7), cost: number(step / 3))
            }
            let places = (0..<2).map { index in
                RunReport.Place(
                    index == 0 ? .federated : .oneShard, name: "p", accuracy: number(step + index),
                    loss: number(step / 2), seconds: number(step / 3),
                    bytes: whole(step / 5), cost: number(step / 7),
                    curve: (0..<2).map {
                        .init(round: number(step / 3 + $0), accuracy: number(step / 5), loss: number(step + $0))
                    })
            }
            // Rows that are not as long as there are classes are damage too.
            let counts = [[whole(step), whole(step / 2)], [whole(step / 3)], []]
            let report = RunReport(
                title: "t", rounds: rounds, workers: workers, places: places, classes: ["a", "b"],
                labelCounts: counts, confusion: counts, bestRound: whole(step),
                agreements: [
                    .init(
                        provider: "p", id: "i", tasks: whole(step), seconds: number(step), billed: number(step / 2),
                        paid: number(step / 3), state: "settled")
                ], cost: number(step / 5),
                mistakes: [
                    .init(
                        row: whole(step), truth: whole(step / 2), predicted: whole(step / 3),
                        probability: number(step / 5), png: "")
                ], times: .init(whole: number(step), rounds: number(step / 2), comparison: number(step / 3)))
            #expect(report.html().contains("</html>"))
            for round in rounds { _ = RunText.round(round, of: whole(step / 13), paint: Paint(false)) }
            _ = RunText.comparison(places, paint: Paint(false), width: 80)
            _ = RunText.workers(workers, most: 2, paint: Paint(false), width: 80)
            _ = RunText.labelDistribution(counts, classes: ["a", "b"], most: 2, paint: Paint(false), width: 80)
            _ = RunText.labelDistribution(counts, classes: [], paint: Paint(false), width: 80)
            _ = RunText.confusion(counts, classes: ["a", "b"], paint: Paint(false), width: 80)
            _ = RunText.counted(whole(step), "worker")
            var outlook = Outlook()
            for round in rounds { outlook.finished(seconds: round.seconds) }
            outlook.best = "x in round \(whole(step))"
            _ = outlook.text(round: whole(step), of: whole(step / 2), elapsed: number(step / 3))
            let curve = rounds.map { LearningCurve.Point(round: $0.number, value: $0.loss) }
            _ = CurveChart(
                title: "t", lines: [.init(name: "a", points: curve), .init(name: "b", points: [])],
                floor: -.infinity, ceiling: .infinity
            ).drawn(width: 60)
        }
    }
}
