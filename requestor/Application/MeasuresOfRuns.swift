import NeuralNetwork
import Reports

extension Measures {
    /// Metrics under the names they are shown by.
    /// - Parameter classes: names of the classes; a class without one is its number.
    public init(_ metrics: Metrics, classes: [String] = []) {
        switch metrics {
        case .classification(let metrics):
            let areas = metrics.classes.count > 2 ? "ROC AUC (one against the rest)" : "ROC AUC"
            var figures = [Figure("accuracy", metrics.accuracy, isShare: true)]
            if let k = metrics.topK { figures.append(Figure("top-\(k) accuracy", metrics.topKAccuracy, isShare: true)) }
            figures += [
                Figure("balanced accuracy", metrics.balancedAccuracy, isShare: true),
                Figure("precision (macro)", metrics.precision, isShare: true),
                Figure("recall (macro)", metrics.recall, isShare: true),
                Figure("F1 (macro)", metrics.f1, isShare: true),
                Figure(areas, metrics.rocAUC), Figure("log loss", metrics.logLoss),
                Figure("calibration error", metrics.calibrationError, isShare: true),
            ]
            self.init(
                figures: figures,
                classes: metrics.classes.enumerated().map { index, row in
                    ClassRow(
                        name: classes.indices.contains(index) ? classes[index] : "\(index)", support: row.support,
                        precision: row.precision, recall: row.recall, f1: row.f1, rocAUC: row.rocAUC)
                })
        case .regression(let metrics):
            let several = metrics.outputs.count > 1
            self.init(
                figures: [
                    Figure("MSE", metrics.mse), Figure("RMSE", metrics.rmse), Figure("MAE", metrics.mae),
                    Figure("R²", metrics.r2),
                ],
                outputs: metrics.outputs.enumerated().map { index, output in
                    Output(
                        name: several ? "output \(index)" : "test set",
                        points: output.points.map {
                            Output.Point(target: Double($0.target), predicted: Double($0.predicted))
                        })
                })
        }
    }
}
