import Reports

/// What the workers of a round are doing, as lines for the bottom of a terminal. A pure value: events change it, and
/// `lines` draws it.
public struct ProgressBoard: Sendable, Equatable {
    public enum Stage: Sendable, Equatable {
        case waiting
        /// Shard and weights are on their way to the worker.
        case sending
        case training
        /// The delta is on its way back.
        case fetching
        case done
        case failed(String)
    }

    /// One client of the round and the worker that has it.
    public struct Row: Sendable, Equatable {
        public var client: Int
        public var worker: String
        public var stage: Stage
        public var epoch: Int
        public var epochs: Int
        /// Part of the epoch that is done, 0 to 1, where the fleet tells.
        public var fraction: Double
        public var loss: Double?
        public var samplesPerSecond: Double?

        public init(
            client: Int, worker: String, stage: Stage = .waiting, epoch: Int = 0, epochs: Int = 1, fraction: Double = 0,
            loss: Double? = nil, samplesPerSecond: Double? = nil
        ) {
            self.client = client
            self.worker = worker
            self.stage = stage
            self.epoch = epoch
            self.epochs = epochs
            self.fraction = fraction
            self.loss = loss
            self.samplesPerSecond = samplesPerSecond
        }

        /// Part of the client's task that is done, 0 to 1.
        public var progress: Double {
            switch stage {
            case .done: 1
            case .waiting, .sending: 0
            case .training, .fetching, .failed:
                min(1, (Double(epoch) + fraction) / Double(max(1, epochs)))
            }
        }
    }

    public var round: Int
    public var rounds: Int
    public private(set) var rows: [Row] = []
    /// What is done after the last client: averaging, testing.
    public var note: String?
    /// What is known beyond this round: time left, the best so far.
    public var outlook: String?

    /// Most lines drawn for workers; with more clients the finished ones give way first.
    public static let mostRows = 12

    public init(round: Int, rounds: Int, clients: [Int] = [], epochs: Int = 1) {
        self.round = round
        self.rounds = rounds
        rows = clients.map { Row(client: $0, worker: "", epochs: epochs) }
    }

    /// Changes the row of a client, which is made if it is new.
    public mutating func update(client: Int, _ change: (inout Row) -> Void) {
        if let index = rows.firstIndex(where: { $0.client == client }) {
            change(&rows[index])
        } else {
            var row = Row(client: client, worker: "")
            change(&row)
            rows.append(row)
        }
    }

    public var finished: Int { rows.count { $0.stage == .done } }

    /// The board: a line for the round, one for what is beyond it, then a line a worker, `height` lines at most. `seconds`
    /// since the round began.
    public func lines(seconds: Double, paint: Paint, width: Int, height: Int = .max) -> [String] {
        let digits = String(rounds).count
        let number = TextWidth.padded("\(round)", to: digits, right: true)
        let progress = rows.isEmpty ? 0 : rows.map(\.progress).reduce(0, +) / Double(rows.count)
        let barWidth = max(10, min(30, width - 52))
        var head = paint("round \(number)/\(rounds)", .bold)
        head += "  " + ImageArt.progress(progress, width: barWidth, paint: paint)
        head += "  \(finished) of \(rows.count) in"
        if let note { head += ", \(note)" }
        head += paint("  \(Figures.duration(seconds))", .dim)
        var lines = [TextWidth.cut(head, to: width)]
        // A line of its own: beside the bar there is no room for it in a usual window.
        if let outlook { lines.append(TextWidth.cut(paint("  " + outlook, .dim), to: width)) }
        let shown = visibleRows(most: min(Self.mostRows, max(1, height.addingSaturating(-1 - lines.count))))
        let names = shown.map { TextWidth.of($0.worker) }.max() ?? 0
        let clients = shown.map { String($0.client).count }.max() ?? 1
        for row in shown {
            lines.append(
                TextWidth.cut(
                    line(row, nameWidth: min(max(24, width - 76), names), clientWidth: clients, paint: paint), to: width
                ))
        }
        if shown.count < rows.count {
            lines.append(paint("  … \(rows.count - shown.count) more", .dim))
        }
        return lines
    }

    /// Those at work first, then those waiting, then the finished, in order of clients within the chosen ones.
    private func visibleRows(most: Int) -> [Row] {
        guard rows.count > most else { return rows }
        func rank(_ row: Row) -> Int {
            switch row.stage {
            case .training, .sending, .fetching: 0
            case .failed: 1
            case .waiting: 2
            case .done: 3
            }
        }
        let chosen = rows.enumerated().sorted { (rank($0.element), $0.offset) < (rank($1.element), $1.offset) }
            .prefix(most).map(\.offset)
        return chosen.sorted().map { rows[$0] }
    }

    private func line(_ row: Row, nameWidth: Int, clientWidth: Int, paint: Paint) -> String {
        let name = TextWidth.padded(TextWidth.shortened(TextWidth.harmless(row.worker), to: nameWidth), to: nameWidth)
        var text = "  " + paint(mark(row.stage), colour(row.stage))
        text += " " + name + (nameWidth > 0 ? "  " : "")
        text += paint("shard " + TextWidth.padded("\(row.client)", to: clientWidth, right: true), .dim) + "  "
        switch row.stage {
        case .waiting: return text + paint("waiting", .dim)
        case .sending: return text + "sending"
        case .failed(let message): return text + paint("failed: " + TextWidth.harmless(message), .red)
        case .training, .fetching, .done: break
        }
        let shownEpoch = row.stage == .training && row.epoch < row.epochs ? row.epoch + 1 : row.epochs
        let epoch = TextWidth.padded("\(shownEpoch)/\(row.epochs)", to: 2 * String(row.epochs).count + 1, right: true)
        text += "epoch \(epoch)  " + ImageArt.progress(row.progress, width: 10, paint: paint)
        text += "  loss " + TextWidth.padded(row.loss.map(Figures.loss) ?? "–", to: 6, right: true)
        if let rate = row.samplesPerSecond {
            text += "  " + TextWidth.padded(Figures.grouped(rate), to: 7, right: true) + " samples/s"
        }
        if row.stage == .fetching { text += paint("  fetching", .dim) }
        return text
    }

    private func mark(_ stage: Stage) -> String {
        switch stage {
        case .waiting: "·"
        case .sending: "↑"
        case .training: "▸"
        case .fetching: "↓"
        case .done: "✓"
        case .failed: "✗"
        }
    }

    private func colour(_ stage: Stage) -> Paint.Colour {
        switch stage {
        case .waiting: .dim
        case .sending, .training, .fetching: .cyan
        case .done: .green
        case .failed: .red
        }
    }
}
