extension RunReport {
    /// The page: one file without scripts, fonts or pictures from elsewhere. The same values give the same bytes.
    public func html() -> String {
        var sections = [header(), tiles()]
        if !rounds.isEmpty { sections.append(curves()) }
        if !places.isEmpty { sections.append(comparison()) }
        if let measures { sections.append(measures.section()) }
        if !confusion.isEmpty { sections.append(confusionSection()) }
        if !mistakes.isEmpty { sections.append(mistakeSection()) }
        if !decisions.isEmpty { sections.append(decisionSection()) }
        if !labelCounts.isEmpty, !classes.isEmpty { sections.append(distribution()) }
        if !workers.isEmpty || !failures.isEmpty { sections.append(workerSection()) }
        if !agreements.isEmpty { sections.append(agreementSection()) }
        if let audits { sections.append(auditSection(audits)) }
        if !commands.isEmpty { sections.append(commandSection()) }
        if !rounds.isEmpty { sections.append(roundTable()) }
        if let model { sections.append(modelSection(model)) }
        if !settings.isEmpty { sections.append(settingsSection()) }
        return Markup.page(title: title, sections + [footer()])
    }

    private func header() -> Markup {
        var parts = Markup.element("h1", text: title)
        let verdict = verdict
        if !verdict.isEmpty { parts += .element("p", [("class", "verdict")], text: verdict) }
        return parts + .element("p", [("class", "lead")], text: subtitle)
    }

    private func tiles() -> Markup {
        func tile(_ value: String, _ name: String, first: Bool = false, isWide: Bool = false) -> Markup {
            .element(
                "div", [("class", "tile" + (first ? " first" : "") + (isWide ? " wide" : ""))],
                .element("b", text: value) + .element("span", text: name))
        }
        let up = rounds.map(\.bytesUp).saturatingSum()
        let down = rounds.map(\.bytesDown).saturatingSum()
        var tiles: [Markup] = []
        if let last = rounds.last {
            // A model that learns numbers, not classes, has no accuracy to show.
            if !last.accuracy.isNaN {
                tiles.append(tile(Figures.percent(last.accuracy), "test accuracy, round \(last.number)", first: true))
                if let best, best.number != last.number {
                    tiles.append(tile(Figures.percent(best.accuracy), "best by the \(chosenOn), round \(best.number)"))
                }
            }
            tiles.append(tile(Figures.loss(last.loss), "test loss", first: last.accuracy.isNaN))
            if let best, best.accuracy.isNaN, best.number != last.number {
                tiles.append(tile(Figures.loss(best.loss), "lowest loss, round \(best.number)"))
            }
            let trained = rounds.filter { $0.number > 0 }
            let ending = stop.map { ", \($0)" } ?? ""
            tiles.append(tile("\(trained.count)", (trained.count == 1 ? "round" : "rounds") + ending))
            if let times {
                var parts = ["rounds \(Figures.duration(times.rounds))"]
                if times.comparison > 0 { parts.append("comparison \(Figures.duration(times.comparison))") }
                parts.append("preparation and end \(Figures.duration(times.preparation))")
                tiles.append(
                    tile(Figures.duration(times.whole), "in all: " + parts.joined(separator: ", "), isWide: true))
            } else {
                tiles.append(tile(Figures.duration(trained.reduce(0) { $0 + $1.seconds }), "time of the rounds"))
            }
            let bytes = up.addingSaturating(down)
            if bytes > 0 {
                tiles.append(tile(Figures.bytes(bytes), "sent \(Figures.bytes(up)), back \(Figures.bytes(down))"))
            }
            let cost = self.cost ?? rounds.compactMap(\.cost).reduce(0, +)
            if cost > 0 || self.cost != nil {
                let settled = agreements.count { $0.state == "settled" }
                let settlement = agreements.isEmpty ? "" : ", \(settled) of \(agreements.count) agreements settled"
                tiles.append(tile(Figures.cost(cost), "cost" + settlement))
            }
        }
        return .element("div", [("class", "tiles")], .lines(tiles))
    }

    private func curves() -> Markup {
        // The untrained model would press everything else against an edge.
        let trained = rounds.contains { $0.number > 0 } ? rounds.filter { $0.number > 0 } : rounds
        let references = places.filter { $0.kind != .federated }
        func levels(_ value: (Place) -> Double) -> [LineChart.Level] {
            references.filter(\.curve.isEmpty).map {
                .init(name: $0.name, colour: $0.kind.colour, value: value($0))
            }
        }
        func lines(_ value: (CurvePoint) -> Double) -> [LineChart.Line] {
            // From the first round on, where the federation's own curve begins.
            let first = Double(trained.first?.number ?? 0)
            return references.filter { !$0.curve.isEmpty }.map { place in
                let points = place.curve.filter { $0.round >= first }.map { ($0.round, value($0)) }
                return .init(name: place.name, colour: place.kind.colour, points: points, isReference: true)
            }
        }
        func federated(_ name: String, _ value: (Round) -> Double) -> LineChart.Line {
            .init(name: name, colour: "accent", points: trained.map { (Double($0.number), value($0)) })
        }
        func validation(_ value: (Round) -> Double?) -> [LineChart.Line] {
            let points = trained.compactMap { round in value(round).map { (Double(round.number), $0) } }
            return points.isEmpty ? [] : [.init(name: "federated, validation", colour: "validation", points: points)]
        }
        let marks = marks(trained)
        var charts: [Markup] = []
        if rounds.contains(where: { $0.accuracy.isFinite }) {
            let chosen = validation(\.validationAccuracy)
            charts.append(
                LineChart(
                    title: chosen.isEmpty ? "Test accuracy" : "Accuracy",
                    lines: [federated(chosen.isEmpty ? "federated" : "federated, test", \.accuracy)] + chosen
                        + lines(\.accuracy),
                    levels: levels(\.accuracy), marks: marks, written: { Figures.short($0 * 100) + " %" },
                    writtenExactly: { Figures.percent($0) }, floor: 0, ceiling: 1
                ).markup())
        }
        var losses = [federated("federated", \.loss)] + lines(\.loss)
        losses.insert(contentsOf: validation(\.validationLoss), at: 1)
        let training = trained.compactMap { round in round.trainLoss.map { (Double(round.number), $0) } }
        if !training.isEmpty { losses.insert(.init(name: "in training", colour: "good", points: training), at: 1) }
        charts.append(
            LineChart(
                title: "Loss", lines: losses, levels: levels(\.loss), marks: marks, written: { Figures.short($0) },
                writtenExactly: { Figures.loss($0) }, floor: rounds.allSatisfy { $0.loss >= 0 } ? 0 : -.infinity
            ).markup(scale: "loss-axis"))
        let panels = charts.map { Markup.element("div", [("class", "panel")], $0) }
        let note =
            best.map { "The best model, of round \($0.number), is chosen by the \(chosenOn)." }
            ?? "No model is the best."
        return .element("h2", text: "Learning curve") + .element("div", [("class", "pair")], .lines(panels))
            + .element("p", [("class", "note")], text: note)
    }

    /// Where the best model is, and where the rounds ended before they were all done.
    private func marks(_ trained: [Round]) -> [LineChart.Mark] {
        guard trained.count > 1, let last = trained.last else { return [] }
        var marks: [LineChart.Mark] = []
        if let best, best.number > 0 {
            let value =
                best.chosenBy.accuracy.isFinite
                ? Figures.percent(best.chosenBy.accuracy) : "loss " + Figures.loss(best.chosenBy.loss)
            marks.append(.init(round: Double(best.number), text: "best: round \(best.number), \(value)"))
        }
        if let stop { marks.append(.init(round: Double(last.number), text: "stop: \(stop)")) }
        return marks
    }

    private func comparison() -> Markup {
        let showsCost = places.contains { ($0.cost ?? 0) > 0 }
        let showsBytes = places.contains { ($0.bytes ?? 0) > 0 }
        let showsAccuracy = places.contains { $0.accuracy.isFinite }
        let head =
            [""] + (showsAccuracy ? ["loss"] : []) + ["time"] + (showsBytes ? ["bytes"] : [])
            + (showsCost ? ["cost"] : [])
        let rows = places.map { place in
            var cells = [Markup.element("td", [], .swatch(place.kind.colour) + Markup(text: place.name))]
            if showsAccuracy { cells.append(.element("td", text: Figures.loss(place.loss))) }
            cells.append(.element("td", text: Figures.duration(place.seconds)))
            if showsBytes { cells.append(.element("td", text: place.bytes.map(Figures.bytes) ?? "–")) }
            if showsCost { cells.append(.element("td", text: Figures.cost(place.cost))) }
            return Markup.element("tr", place.kind == .federated ? [("class", "first")] : [], cells.reduce(Markup(), +))
        }
        let subject = showsAccuracy ? "Test accuracy" : "Test loss"
        let chart = Markup.element(
            "figure", [],
            .element("figcaption", [], .element("b", text: subject)) + PlaceChart(places: places).markup())
        return .element("h2", text: "Compared with one place and one shard")
            + .element("div", [("class", "pair")], .lines([panel(chart), panel(table(head: head, rows: rows))]))
            + .element(
                "p", [("class", "note")],
                text: "The same model, the same number of passes over the data it sees, the same test set.")
    }

    func panel(_ content: Markup) -> Markup { .panel(content) }

    func folded(_ summary: String, _ content: Markup) -> Markup {
        .element("details", [], .element("summary", text: summary) + content)
    }

    func table(head: [String], rows: [Markup]) -> Markup { .table(head: head, rows: rows) }
}
