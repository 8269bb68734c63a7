extension RunReport {
    /// The page: one file without scripts, fonts or pictures from elsewhere. The same values give the same bytes.
    public func html() -> String {
        var sections = [header(), tiles()]
        if !rounds.isEmpty { sections.append(curves()) }
        if !places.isEmpty { sections.append(comparison()) }
        if let measures { sections.append(measures.section()) }
        if !workers.isEmpty || !failures.isEmpty { sections.append(workerSection()) }
        if let audits { sections.append(auditSection(audits)) }
        if !labelCounts.isEmpty, !classes.isEmpty { sections.append(distribution()) }
        if !confusion.isEmpty { sections.append(confusionSection()) }
        if !rounds.isEmpty { sections.append(roundTable()) }
        if !settings.isEmpty { sections.append(settingsSection()) }
        return Markup.page(title: title, sections + [footer()])
    }

    private func header() -> Markup {
        .element("h1", text: title) + .element("p", [("class", "lead")], text: subtitle)
    }

    private func tiles() -> Markup {
        func tile(_ value: String, _ name: String, first: Bool = false) -> Markup {
            .element(
                "div", [("class", first ? "tile first" : "tile")],
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
            tiles.append(tile("\(trained.count)", trained.count == 1 ? "round" : "rounds"))
            tiles.append(tile(Figures.duration(trained.reduce(0) { $0 + $1.seconds }), "training time"))
            let bytes = up.addingSaturating(down)
            if bytes > 0 {
                tiles.append(tile(Figures.bytes(bytes), "sent \(Figures.bytes(up)), back \(Figures.bytes(down))"))
            }
            let cost = rounds.compactMap(\.cost).reduce(0, +)
            if cost > 0 { tiles.append(tile(Figures.cost(cost), "cost")) }
        }
        return .element("div", [("class", "tiles")], .lines(tiles))
    }

    private func curves() -> Markup {
        // The untrained model would press everything else against an edge.
        let trained = rounds.contains { $0.number > 0 } ? rounds.filter { $0.number > 0 } : rounds
        let references = Array(zip(places.dropFirst(), ["other", "third", "muted"]))
        func levels(_ value: (Place) -> Double) -> [LineChart.Level] {
            references.filter { $0.0.curve.isEmpty }.map { .init(name: $0.0.name, colour: $0.1, value: value($0.0)) }
        }
        func lines(_ value: (CurvePoint) -> Double) -> [LineChart.Line] {
            // From the first round on, where the federation's own curve begins.
            let first = Double(trained.first?.number ?? 0)
            return references.filter { !$0.0.curve.isEmpty }.map { place, colour in
                let points = place.curve.filter { $0.round >= first }.map { ($0.round, value($0)) }
                return .init(name: place.name, colour: colour, points: points, isReference: true)
            }
        }
        func federated(_ name: String, _ value: (Round) -> Double) -> LineChart.Line {
            .init(name: name, colour: "accent", points: trained.map { (Double($0.number), value($0)) })
        }
        func validation(_ value: (Round) -> Double?) -> [LineChart.Line] {
            let points = trained.compactMap { round in value(round).map { (Double(round.number), $0) } }
            return points.isEmpty ? [] : [.init(name: "federated, validation", colour: "class6", points: points)]
        }
        var charts: [Markup] = []
        if rounds.contains(where: { $0.accuracy.isFinite }) {
            let chosen = validation(\.validationAccuracy)
            charts.append(
                LineChart(
                    title: chosen.isEmpty ? "Test accuracy" : "Accuracy",
                    lines: [federated(chosen.isEmpty ? "federated" : "federated, test", \.accuracy)] + chosen
                        + lines(\.accuracy),
                    levels: levels(\.accuracy), written: { Figures.short($0 * 100) + " %" },
                    writtenExactly: { Figures.percent($0) }, floor: 0, ceiling: 1
                ).markup())
        }
        var losses = [federated("federated", \.loss)] + lines(\.loss)
        losses.insert(contentsOf: validation(\.validationLoss), at: 1)
        let training = trained.compactMap { round in round.trainLoss.map { (Double(round.number), $0) } }
        if !training.isEmpty { losses.insert(.init(name: "in training", colour: "good", points: training), at: 1) }
        charts.append(
            LineChart(
                title: "Loss", lines: losses, levels: levels(\.loss), written: { Figures.short($0) },
                writtenExactly: { Figures.loss($0) }, floor: rounds.allSatisfy { $0.loss >= 0 } ? 0 : -.infinity
            ).markup())
        let panels = charts.map { Markup.element("div", [("class", "panel")], $0) }
        let note =
            best.map { "The best model, of round \($0.number), is chosen by the \(chosenOn)." }
            ?? "No model is the best."
        return .element("h2", text: "Learning curve") + .element("div", [("class", "pair")], .lines(panels))
            + .element("p", [("class", "note")], text: note)
    }

    private func comparison() -> Markup {
        let accuracies = places.map(\.accuracy)
        let showsAccuracy = accuracies.contains(where: \.isFinite)
        let showsCost = places.contains { ($0.cost ?? 0) > 0 }
        let showsBytes = places.contains { ($0.bytes ?? 0) > 0 }
        // Bars begin at a round number below the worst, so that 97.6 and 97.9 can be told apart; the axis is named.
        let finite = accuracies.filter(\.isFinite)
        let spread = (finite.max() ?? 1) - (finite.min() ?? 0)
        let axis = Axis(covering: finite + finite.map { $0 - spread * 0.3 }, steps: 3, floor: 0, ceiling: 1)
        var head = [""]
        if showsAccuracy { head += ["accuracy", ""] }
        head += ["loss", "time"] + (showsBytes ? ["bytes"] : []) + (showsCost ? ["cost"] : [])
        var rows: [Markup] = []
        for (index, place) in places.enumerated() {
            var cells = [Markup.element("td", text: place.name)]
            if showsAccuracy {
                let share = place.accuracy.isFinite ? max(0.01, axis.position(place.accuracy)) : 0
                cells.append(.element("td", text: Figures.percent(place.accuracy)))
                cells.append(
                    .element(
                        "td", [("class", "bars")],
                        .element(
                            "i",
                            [
                                ("class", index == 0 ? "bar" : "bar other"),
                                ("style", "width:\(Figures.decimal(share * 100, digits: 1))%"),
                            ])))
            }
            cells.append(.element("td", text: Figures.loss(place.loss)))
            cells.append(.element("td", text: Figures.duration(place.seconds)))
            if showsBytes { cells.append(.element("td", text: place.bytes.map(Figures.bytes) ?? "–")) }
            if showsCost { cells.append(.element("td", text: Figures.cost(place.cost))) }
            rows.append(.element("tr", index == 0 ? [("class", "first")] : [], cells.reduce(Markup(), +)))
        }
        var note = "The same model, the same number of passes over the data it sees, the same test set."
        if showsAccuracy {
            note += " Bars run from \(Figures.short(axis.lower * 100)) % to \(Figures.short(axis.upper * 100)) %."
        }
        return .element("h2", text: "Compared with one place and one shard") + panel(table(head: head, rows: rows))
            + .element("p", [("class", "note")], text: note)
    }

    private func workerSection() -> Markup {
        var parts = Markup.element("h2", text: "Workers")
        if !workers.isEmpty {
            let showsCost = workers.contains { ($0.cost ?? 0) > 0 }
            let head =
                ["", "tasks", "failed", "examples", "time", "samples/s", "sent", "back"] + (showsCost ? ["cost"] : [])
            let rows = workers.map { worker in
                var cells = [
                    Markup.element("td", text: worker.name), .element("td", text: "\(worker.tasks)"),
                    .element("td", worker.failures > 0 ? [("class", "bad")] : [], text: "\(worker.failures)"),
                    .element("td", text: Figures.grouped(worker.examples)),
                    .element("td", text: Figures.duration(worker.seconds)),
                    .element("td", text: worker.samplesPerSecond.map(Figures.grouped) ?? "–"),
                    .element("td", text: Figures.bytes(worker.bytesUp)),
                    .element("td", text: Figures.bytes(worker.bytesDown)),
                ]
                if showsCost { cells.append(.element("td", text: Figures.cost(worker.cost))) }
                return Markup.element("tr", [], cells.reduce(Markup(), +))
            }
            let shown = 12
            parts += panel(table(head: head, rows: Array(rows.prefix(shown))))
            if rows.count > shown {
                parts += folded(
                    "\(rows.count - shown) more workers", panel(table(head: head, rows: Array(rows.dropFirst(shown)))))
            }
        }
        if !failures.isEmpty {
            let items = failures.map { Markup.element("li", text: $0) }
            parts += .element(
                "p", [("class", "bad")], text: failures.count == 1 ? "One failure" : "\(failures.count) failures")
            parts += .element("ul", [], .lines(Array(items.prefix(50))))
            if items.count > 50 {
                parts += .element("p", [("class", "note")], text: "The rest is in events.jsonl.")
            }
        }
        return parts
    }

    private func auditSection(_ audits: Audits) -> Markup {
        let rows = audits.providers.map { line in
            let isBad = line.mismatches > 0 || line.falseRefusals > 0
            let cells = [
                Markup.element("td", text: line.name), .element("td", text: "\(line.answers)"),
                .element("td", text: "\(line.audited)"),
                .element("td", isBad ? [("class", "bad")] : [], text: "\(line.mismatches)"),
                .element("td", isBad ? [("class", "bad")] : [], text: "\(line.falseRefusals)"),
            ]
            return Markup.element("tr", [], cells.reduce(Markup(), +))
        }
        let head = ["", "answers", "audited", "mismatches", "false refusals"]
        let shown = 12
        var parts =
            Markup.element("h2", text: "Checked work") + panel(table(head: head, rows: Array(rows.prefix(shown))))
            + .element("p", [("class", "note")], text: audits.sentence)
        if rows.count > shown {
            parts += folded(
                "\(rows.count - shown) more providers", panel(table(head: head, rows: Array(rows.dropFirst(shown)))))
        }
        return parts
    }

    private func distribution() -> Markup {
        .element("h2", text: "Labels on each shard")
            + panel(LabelDistributionChart(classes: classes, counts: labelCounts).markup())
    }

    private func confusionSection() -> Markup {
        let chart = ConfusionMatrixChart(classes: classes, counts: confusion)
        let pairs = chart.worstPairs(8).map { pair in
            Markup.element("li", [], text: "\(pair.truth) taken for \(pair.predicted): \(Figures.grouped(pair.count))")
        }
        let total = confusion.map { $0.saturatingSum() }.saturatingSum()
        let right = confusion.enumerated().compactMap { $1.indices.contains($0) ? $1[$0] : nil }.saturatingSum()
        var side = Markup.element(
            "p", text: "\(Figures.grouped(right)) of \(Figures.grouped(total)) test examples are right.")
        if !pairs.isEmpty {
            side += .element("p", [("class", "note")], text: "Most frequent mistakes")
            side += .element("ul", [("class", "note")], .lines(pairs))
        }
        return .element("h2", text: "Confusion matrix")
            + panel(.element("div", [("class", "matrix-row")], chart.markup() + .element("div", [], side)))
    }

    private func roundTable() -> Markup {
        let showsCost = rounds.contains { ($0.cost ?? 0) > 0 }
        let head =
            ["round", "accuracy", "loss", "clients", "failed", "time", "sent", "back"] + (showsCost ? ["cost"] : [])
        let rows = rounds.map { round in
            var texts = [
                "\(round.number)", Figures.percent(round.accuracy), Figures.loss(round.loss), "\(round.clients)",
                "\(round.failures)", Figures.duration(round.seconds), Figures.bytes(round.bytesUp),
                Figures.bytes(round.bytesDown),
            ]
            if showsCost { texts.append(Figures.cost(round.cost)) }
            return Markup.element(
                "tr", round.number == best?.number ? [("class", "first")] : [],
                texts.map { .element("td", text: $0) }.reduce(Markup(), +))
        }
        return folded("Every round as a table", panel(table(head: head, rows: rows)))
    }

    private func settingsSection() -> Markup {
        let rows = settings.map { setting in
            Markup.element(
                "tr", [],
                .element("td", text: setting.name)
                    + .element("td", [("class", "text")], .element("code", text: setting.value)))
        }
        return folded("Settings", panel(table(head: [], rows: rows)))
    }

    private func footer() -> Markup {
        var text = Markup(text: "Made by DeML.")
        if !modelSHA256.isEmpty {
            text += Markup(text: " Final model: SHA-256 ") + .element("code", text: modelSHA256)
        }
        return .element("footer", [], text)
    }

    private func panel(_ content: Markup) -> Markup { .panel(content) }

    private func folded(_ summary: String, _ content: Markup) -> Markup {
        .element("details", [], .element("summary", text: summary) + content)
    }

    private func table(head: [String], rows: [Markup]) -> Markup { .table(head: head, rows: rows) }
}
