import Federation
import Foundation
import Tensors

/// Finished runs side by side.
public struct RunComparison: Sendable {
    /// One run; as JSON its name and its summary.
    public struct Row: Sendable, Encodable {
        /// The last part of its path, where that tells the runs apart; else the path.
        public var run: String
        public var summary: Summary
        public var configuration: RunConfiguration
        /// A line a round, the untrained model first.
        public var metrics: [RoundMetrics]

        enum CodingKeys: String, CodingKey { case run, summary }
    }

    /// A setting in which the runs differ, with its value in each.
    public struct Difference: Sendable, Equatable {
        public var key: String
        public var values: [String]
    }

    public var rows: [Row]

    /// Settings in which a run differs from the first, `output` left out.
    public var differences: [Difference] {
        guard let first = rows.first?.configuration else { return [] }
        var differences: [Difference] = []
        for (index, row) in rows.enumerated().dropFirst() {
            for found in first.allDifferences(to: row.configuration) where found.key != "output" {
                let place =
                    differences.firstIndex { $0.key == found.key }
                    ?? {
                        differences.append(
                            Difference(
                                key: found.key, values: [String](repeating: found.was, count: rows.count)))
                        return differences.count - 1
                    }()
                differences[place].values[index] = found.now
            }
        }
        return differences
    }
}

extension Application {
    public func compare(_ runs: [String]) throws -> RunComparison {
        let folders = runs.map { RunFolder(path: paths.resolved($0)) }
        for folder in folders where !Files.exists(folder.summary) {
            let started = Files.exists(folder.config)
            throw DeMLError(
                .notFound,
                started ? "the run has not ended: there is no summary.json" : "there is no run in this folder",
                place: paths.shown(folder.path),
                hint: started ? "finish it by deml train --resume \(paths.shown(folder.path))" : nil)
        }
        let names = folders.map { ($0.path as NSString).lastPathComponent }
        let isClear = Set(names).count == names.count
        return RunComparison(
            rows: try zip(folders, names).map { folder, name in
                RunComparison.Row(
                    run: isClear ? name : paths.shown(folder.path), summary: try folder.readSummary(),
                    configuration: try folder.readConfiguration(), metrics: try folder.readMetrics())
            })
    }
}
