import Reports

/// The lines a run prints, as text of values.
public enum RunText {
    /// `round 2/3   accuracy 96.90 %   loss 0.1043   3 clients   2.10 s   ↑ 1.22 MB  ↓ 1.14 MB`
    /// Where that is wider than `width` it is written closer, then without the number of clients, then without bytes.
    public static func round(
        _ round: RunReport.Round, of rounds: Int, best: Bool = false, paint: Paint, width: Int = .max
    ) -> String {
        let digits = String(rounds).count
        let number = TextWidth.padded("\(round.number)", to: digits, right: true)
        var parts = [paint("round \(number)/\(rounds)", .bold)]
        if !round.accuracy.isNaN {
            parts.append(
                "accuracy "
                    + paint(
                        TextWidth.padded(Figures.percent(round.accuracy), to: 7, right: true), best ? .green : .bold))
        }
        if let accuracy = round.validationAccuracy {
            parts.append("validation " + TextWidth.padded(Figures.percent(accuracy), to: 7, right: true))
        } else if let loss = round.validationLoss {
            parts.append("validation " + TextWidth.padded(Figures.loss(loss), to: 6, right: true))
        }
        parts.append("loss " + TextWidth.padded(Figures.loss(round.loss), to: 6, right: true))
        let clients = counted(round.clients, "client")
        parts.append(clients)
        parts.append(TextWidth.padded(Figures.duration(round.seconds), to: 7, right: true))
        let bytes = paint("↑ \(Figures.bytes(round.bytesUp))  ↓ \(Figures.bytes(round.bytesDown))", .dim)
        if round.bytesUp.addingSaturating(round.bytesDown) > 0 { parts.append(bytes) }
        if let cost = round.cost, cost > 0 { parts.append(Figures.cost(cost)) }
        if round.failures > 0 { parts.append(paint("\(round.failures) failed", .yellow)) }
        let line = parts.joined(separator: "   ")
        guard TextWidth.of(line) > width else { return line }
        for spared in ["", clients, bytes] {
            parts.removeAll { $0 == spared }
            if TextWidth.of(parts.joined(separator: "  ")) <= width { break }
        }
        return parts.joined(separator: "  ")
    }

    /// The best model's accuracy, or loss where it has none, and the round that it is of: `97.71 % (3)`.
    public static func best(round: Int?, accuracy: Double?, loss: Double?) -> String {
        guard let round, let value = accuracy.map({ Figures.percent($0) }) ?? loss.map(Figures.loss) else { return "–" }
        return "\(value) (\(round))"
    }

    /// The comparison that the idea is about, federated first.
    public static func comparison(_ places: [RunReport.Place], paint: Paint, width: Int) -> [String] {
        let showsAccuracy = places.contains { $0.accuracy.isFinite }
        let showsCost = places.contains { ($0.cost ?? 0) > 0 }
        let showsBytes = places.contains { ($0.bytes ?? 0) > 0 }
        var columns = [TextTable.Column("", toRight: false)]
        if showsAccuracy { columns.append(.init("accuracy")) }
        columns += [.init("loss"), .init("time")]
        if showsBytes { columns.append(.init("bytes")) }
        if showsCost { columns.append(.init("cost")) }
        let rows = places.map { place in
            var cells = [place.name]
            if showsAccuracy { cells.append(Figures.percent(place.accuracy)) }
            cells += [Figures.loss(place.loss), Figures.duration(place.seconds)]
            if showsBytes { cells.append(place.bytes.map(Figures.bytes) ?? "–") }
            if showsCost { cells.append(Figures.cost(place.cost)) }
            return cells
        }
        return TextTable(columns, rows: rows, emphasised: [0]).lines(paint: paint, width: width)
    }

    /// A line a worker; at most `most`, the slowest first when there are more.
    public static func workers(_ workers: [RunReport.Worker], most: Int = 12, paint: Paint, width: Int) -> [String] {
        let shown =
            workers.count <= most
            ? workers : Array(workers.sorted { ($1.seconds, $0.name) < ($0.seconds, $1.name) }.prefix(most))
        let showsCost = workers.contains { ($0.cost ?? 0) > 0 }
        let showsFailures = workers.contains { $0.failures > 0 }
        var columns: [TextTable.Column] = [
            .init("worker", toRight: false), .init("tasks"), .init("examples"), .init("time"), .init("samples/s"),
        ]
        let showsBytes = workers.contains { $0.bytesUp.addingSaturating($0.bytesDown) > 0 }
        if showsBytes { columns += [.init("sent"), .init("back")] }
        if showsFailures { columns.insert(.init("failed"), at: 2) }
        if showsCost { columns.append(.init("cost")) }
        let rows = shown.map { worker in
            var cells = [
                TextWidth.harmless(worker.name), "\(worker.tasks)", Figures.grouped(worker.examples),
                Figures.duration(worker.seconds),
                worker.samplesPerSecond.map(Figures.grouped) ?? "–",
            ]
            if showsBytes { cells += [Figures.bytes(worker.bytesUp), Figures.bytes(worker.bytesDown)] }
            if showsFailures { cells.insert("\(worker.failures)", at: 2) }
            if showsCost { cells.append(Figures.cost(worker.cost)) }
            return cells
        }
        var lines = TextTable(columns, rows: rows).lines(paint: paint, width: width)
        if shown.count < workers.count {
            lines.append(paint("  … and \(Figures.grouped(workers.count - shown.count)) faster ones", .dim))
        }
        return lines
    }

    /// Examples of each label in each shard; with many shards a summary instead of hundreds of lines.
    public static func labelDistribution(
        _ counts: [[Int]], classes: [String], most: Int = 20, paint: Paint, width: Int
    ) -> [String] {
        guard !classes.isEmpty, classes.count <= 20 else {
            return counts.prefix(most).enumerated().map { shard, row in
                "  shard \(shard): \(Figures.grouped(row.saturatingSum())) examples"
            }
        }
        let columns =
            [TextTable.Column("shard", toRight: false), .init("examples")]
            + classes.map { TextTable.Column(TextWidth.shortened($0, to: 8)) }
        let rows = counts.prefix(most).enumerated().map { shard, row in
            ["\(shard)", Figures.grouped(row.saturatingSum())] + row.map { $0 == 0 ? "·" : Figures.grouped($0) }
        }
        var lines = TextTable(columns, rows: Array(rows)).lines(paint: paint, width: width)
        if counts.count > most {
            let sizes = counts.map { $0.saturatingSum() }
            lines.append(
                paint(
                    "  … and \(counts.count - most) more shards, of \(Figures.grouped(sizes.min() ?? 0)) to "
                        + "\(Figures.grouped(sizes.max() ?? 0)) examples", .dim))
        }
        return lines
    }

    /// Every measure of the whole, in as many columns as there is room for.
    public static func measures(_ measures: Measures, paint: Paint, width: Int) -> [String] {
        let names = measures.figures.map { TextWidth.of($0.name) }.max() ?? 0
        let texts = measures.figures.map { TextWidth.of($0.text) }.max() ?? 0
        let cells = measures.figures.map { figure in
            TextWidth.padded(figure.name, to: names) + "  "
                + paint(TextWidth.padded(figure.text, to: texts, right: true), .bold)
        }
        let columns = max(1, min(3, (width - 2) / (names + texts + 6)))
        return stride(from: 0, to: cells.count, by: columns).map { first in
            "  " + cells[first..<min(first + columns, cells.count)].joined(separator: "    ")
        }
    }

    /// A line a class: how many examples it has, and how well it is told from the rest.
    public static func classes(_ measures: Measures, most: Int = 30, paint: Paint, width: Int) -> [String] {
        let columns = Measures.classHead.enumerated().map { TextTable.Column($1, toRight: $0 > 0) }
        let rows = measures.classes.prefix(most).map { row in
            [TextWidth.harmless(row.name)] + row.cells.dropFirst()
        }
        var lines = TextTable(columns, rows: Array(rows)).lines(paint: paint, width: width)
        if measures.classes.count > most {
            lines.append(paint("  … and \(Figures.grouped(measures.classes.count - most)) more classes", .dim))
        }
        return lines
    }

    /// Runs that belong together.
    public static func trials(_ table: TrialsReport.Table, paint: Paint, width: Int) -> [String] {
        let columns = table.head.enumerated().map { TextTable.Column($1, toRight: $0 > 0) }
        let rows = table.rows.map { $0.map { TextWidth.harmless($0) } }
        return TextTable(columns, rows: rows, emphasised: table.emphasised.map { [$0] } ?? [])
            .lines(paint: paint, width: width)
    }

    public static func counted(_ number: Int, _ noun: String) -> String {
        "\(Figures.grouped(number)) \(noun)\(number == 1 ? "" : "s")"
    }
}

extension RunText {
    /// The confusion matrix: a row a true class, a column a predicted one, recall at the end. Mistakes are painted.
    public static func confusion(_ counts: [[Int]], classes: [String], paint: Paint, width: Int) -> [String] {
        let columns =
            [TextTable.Column("true \\ predicted", toRight: false)]
            + classes.map { TextTable.Column(TextWidth.shortened($0, to: 8)) } + [.init("recall")]
        let worst =
            counts.enumerated().flatMap { row, line in
                line.enumerated().compactMap { row == $0.offset ? nil : $0.element }
            }.max() ?? 0
        let rows = counts.enumerated().map { row, line in
            let total = line.saturatingSum()
            let right = line.indices.contains(row) ? line[row] : 0
            let cells = line.enumerated().map { column, count -> String in
                if count == 0 { return paint("·", .dim) }
                if row == column { return paint("\(count)", .bold) }
                return count > worst / 2 ? paint("\(count)", .red) : "\(count)"
            }
            let recall = total == 0 ? "–" : Figures.percent(Double(right) / Double(total), digits: 1)
            return [row < classes.count ? classes[row] : "\(row)"] + cells + [recall]
        }
        return TextTable(columns, rows: rows).lines(paint: paint, width: width)
    }
}
