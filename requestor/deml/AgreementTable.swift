import CommandLineSupport
import Federation
import Fleets
import Reports

extension RunText {
    /// What every provider was hired for, did, billed and got.
    static func agreements(_ agreements: [AgreementExpense], paint: Paint, width: Int) -> [String] {
        let columns: [TextTable.Column] = [
            .init("provider", toRight: false), .init("agreement", toRight: false), .init("tasks"), .init("time"),
            .init("billed"), .init("paid"), .init("state", toRight: false),
        ]
        let rows = agreements.map { agreement in
            [
                TextWidth.harmless(agreement.provider.name), String(agreement.agreement.prefix(8)),
                "\(agreement.tasks)",
                Figures.duration(agreement.seconds), Figures.cost(agreement.billedGLM), Figures.cost(agreement.paidGLM),
                agreement.state + (agreement.reason.map { ": \(TextWidth.harmless($0))" } ?? ""),
            ]
        }
        return TextTable(columns, rows: rows).lines(paint: paint, width: width)
    }
}
