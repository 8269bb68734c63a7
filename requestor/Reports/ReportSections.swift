/// The parts of the page below curves and comparison.
extension RunReport {
    func workerSection() -> Markup {
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

    func auditSection(_ audits: Audits) -> Markup {
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

    func distribution() -> Markup {
        .element("h2", text: "Labels on each shard")
            + panel(LabelDistributionChart(classes: classes, counts: labelCounts).markup())
    }

    func confusionSection() -> Markup {
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
            + .element("div", [("class", "matrix-row")], panel(chart.markup()) + .element("div", [], side))
    }

    func mistakeSection() -> Markup {
        let figures = mistakes.map { mistake -> Markup in
            let (truth, predicted) = (className(mistake.truth), className(mistake.predicted))
            let sure = Figures.percent(mistake.probability, digits: 0)
            // Nothing but a picture can stand behind this prefix, and the text is escaped.
            let picture = Markup.shape(
                "img",
                [
                    ("src", "data:image/png;base64," + mistake.png), ("width", "84"), ("height", "84"),
                    ("alt", "\(truth), taken for \(predicted)"),
                ])
            return .element(
                "figure", [],
                picture
                    + .element(
                        "figcaption", [],
                        .element("b", text: "\(truth) → \(predicted)")
                            + Markup(text: "\(sure) sure, row \(Figures.grouped(mistake.row))")))
        }
        return .element("h2", text: "The surest mistakes")
            + panel(.element("div", [("class", "mistakes")], .lines(figures)))
            + .element(
                "p", [("class", "note")],
                text: "True class → what the last model said, with the probability that it gave; row of the test set, "
                    + "from 0.")
    }

    func decisionSection() -> Markup {
        let rows = decisions.map { decision in
            Markup.element(
                "tr", [],
                .element("td", [("class", "name")], text: decision.subject)
                    + .element(
                        "td", [("class", "text")],
                        (decision.isWarning
                            ? Markup.element("b", [("class", "bad")], text: "Warning: ") : Markup())
                            + Markup(text: decision.text)))
        }
        return .element("h2", text: "What was decided about the data") + panel(table(head: [], rows: rows))
    }

    func agreementSection() -> Markup {
        let rows = agreements.map { agreement -> Markup in
            let isWell = ["settled", "accepted", "paid", "free"].contains(agreement.state) && agreement.reason == nil
            let state = agreement.state + (agreement.reason.map { ": \($0)" } ?? "")
            let texts = [
                agreement.provider, String(agreement.id.prefix(8)), "\(agreement.tasks)",
                Figures.duration(agreement.seconds), Figures.cost(agreement.billed), Figures.cost(agreement.paid),
            ]
            return .element(
                "tr", [],
                texts.map { .element("td", text: $0) }.reduce(Markup(), +)
                    + .element("td", [("class", isWell ? "wrap" : "wrap bad")], text: state))
        }
        let head = ["provider", "agreement", "tasks", "time", "billed", "paid", "settlement"]
        let billed = agreements.reduce(0) { $0 + $1.billed }
        let paid = agreements.reduce(0) { $0 + $1.paid }
        let shown = 12
        var parts =
            Markup.element("h2", text: "Agreements") + panel(table(head: head, rows: Array(rows.prefix(shown))))
        if rows.count > shown {
            parts += folded(
                "\(rows.count - shown) more agreements", panel(table(head: head, rows: Array(rows.dropFirst(shown)))))
        }
        return parts
            + .element(
                "p", [("class", "note")],
                text: "Billed in all: \(Figures.cost(billed)); accepted or paid: \(Figures.cost(paid)).")
    }

    func commandSection() -> Markup {
        let lines = commands.map { command in
            Markup.element(
                "div", [],
                .element("p", text: command.purpose) + .element("code", text: command.line))
        }
        return .element("h2", text: "What to run next")
            + panel(.element("div", [("class", "commands")], .lines(lines)))
            + .element("p", [("class", "note")], text: "A click marks a whole line, to copy.")
    }

    func roundTable() -> Markup {
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

    func modelSection(_ model: Model) -> Markup {
        let rows = model.rows.map { row in
            Markup.element(
                "tr", [],
                row.map { .element("td", text: $0) }.reduce(Markup(), +))
        }
        return folded(
            "Layers of the model",
            panel(table(head: model.head, rows: rows)) + .element("p", [("class", "note")], text: model.note))
    }

    func settingsSection() -> Markup {
        let rows = settings.map { setting in
            Markup.element(
                "tr", [],
                .element("td", text: setting.name)
                    + .element("td", [("class", "text")], .element("code", text: setting.value)))
        }
        return folded("Settings", panel(table(head: [], rows: rows)))
    }

    func footer() -> Markup {
        var text = Markup(text: "Made by DeML.")
        if !modelSHA256.isEmpty {
            text += Markup(text: " Final model: SHA-256 ") + .element("code", text: modelSHA256)
        }
        return .element("footer", [], text)
    }
}
