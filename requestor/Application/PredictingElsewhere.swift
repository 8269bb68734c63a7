import Datasets
import Federation
import Fleets
import Inference
import Jobs
import NeuralNetwork
import Tensors

typealias WorkerJobForm = WorkerJob.PredictionForm

/// What came of predictions on other machines.
public struct FleetPredictAnswer: Sendable {
    /// The first predictions (see ``FleetPredictAnswer/shown``), for people; all of them are in the output.
    public var answer: PredictAnswer
    /// How many examples there were, and of those whose class is known how many were right.
    public var count: Int
    public var judged: Int
    public var right: Int
    /// Where they were written.
    public var output: String?
    public var result: InferenceResult

    /// Predictions that an answer shows at most.
    public static let shown = 100
}

extension Application {
    /// The same as ``predict(_:)`` by the machines of a fleet: in order, complete, each once, and the same bytes.
    ///
    /// Data and model are cut into jobs and given out; what comes is looked at (``FleetPlace/audit``) and kept in a folder,
    /// from which the same call goes on after it was stopped, however that was.
    /// - Parameters:
    ///   - progress: told what happens, one event at a time.
    /// - Throws: `DeMLError`; ``Inference/InferenceInterrupted`` when the task was cancelled.
    public func predict(
        _ request: PredictRequest, on place: FleetPlace, progress: @escaping @Sendable (InferenceEvent) -> Void
    ) async throws -> FleetPredictAnswer {
        let fleet = try fleet(place)
        let model = try ModelArgument(request.model, paths)
        let inputs = try PredictionInputs(request, model, paths)
        let chosen = try inputs.chosen(request, paths)
        let output = request.output.map { paths.resolved($0) }
        // What cannot be written at the end is found at the beginning.
        try inputs.table(chosen, [], model).check(request.writing.contents)
        if let output, Files.isDirectory(output) {
            throw DeMLError(.cannotCreate, "a folder has the name of the output", place: paths.shown(output))
        }
        let inference = try inference(
            model, rows: inputs.x.rows(chosen), form: .answers, place: place, folder: output.map { $0 + ".work" },
            name: "predict",
            names: (
                paths.shown(model.path), paths.shown(inputs.path),
                "\(inputs.part?.rawValue ?? "all"), from \(chosen.lowerBound)"
            ))
        tell(inputs.notes, progress)
        let result = try await inference.run(on: fleet, progress: try tellingCost(place, progress))
        let table = inputs.table(chosen, try inference.values(), model)
        if let output { try table.write(to: output, as: request.writing) }
        inference.removeFolder()
        var answer = PredictAnswer(table, notes: inputs.notes, available: inputs.x.shape[0])
        let shown = min(table.count, FleetPredictAnswer.shown)
        answer.predictions = (0..<shown).map { table.prediction($0) }
        answer.pictures = try Pictures(
            inputs.x.rows(chosen.lowerBound..<chosen.lowerBound + shown), shape: model.weights.model.inputShape)
        let labels = table.isClassifier ? table.labels : nil
        return FleetPredictAnswer(
            answer: answer, count: table.count, judged: labels?.count ?? 0,
            right: labels.map { $0.indices.count { index in labels?[index] == table.best(index) } } ?? 0,
            output: output, result: result)
    }

    /// What ``predict(_:on:progress:)`` would give to rented machines, and GLM that this may cost: likely, as
    /// ``InferenceEvent/Plan/carefulSeconds`` has it, and in an hour at the worst. Nothing is made, nothing is spent.
    public func cost(
        of request: PredictRequest, on place: FleetPlace
    ) throws -> (plan: InferenceEvent.Plan, likely: Double, worst: Double) {
        let model = try ModelArgument(request.model, paths)
        let inputs = try PredictionInputs(request, model, paths)
        let plan = Inference.plan(
            of: inputs.x.rows(try inputs.chosen(request, paths)), by: model.weights.model,
            modelBytes: Files.size(of: model.path) ?? 0, form: .answers, fleet: place.fleet.rawValue,
            machines: try place.settings().machines)
        let settings = try golemSettings(place.golem)
        return (
            plan, settings.worstCase(machines: plan.machines, hours: plan.carefulSeconds / 3600),
            settings.worstCase(machines: plan.machines, hours: 1)
        )
    }

    /// The same as ``evaluate(_:)`` by the machines of a fleet, to the same measures bit by bit. They get the inputs and give
    /// the model's outputs; the labels stay here, and here is measured.
    public func evaluate(
        _ request: EvaluateRequest, on place: FleetPlace, progress: @escaping @Sendable (InferenceEvent) -> Void
    ) async throws -> (answer: EvaluateAnswer, result: InferenceResult) {
        let fleet = try fleet(place)
        let (model, data, examples) = try evaluated(request)
        let inference = try inference(
            model, rows: data.x, form: .outputs, place: place, folder: nil, name: "evaluate",
            names: (paths.shown(model.path), paths.shown(data.path), data.part.rawValue))
        tell(data.notes, progress)
        let result = try await inference.run(on: fleet, progress: try tellingCost(place, progress))
        let start = ContinuousClock.now
        let evaluator = try Evaluator(
            model: model.weights.model, threads: try Threads.checked(request.threads), examples: examples.count)
        let evaluation = try evaluator.evaluate(outputs: try inference.values(), examples, metrics: true)
        inference.removeFolder()
        let seconds = result.seconds + (ContinuousClock.now - start) / .seconds(1)
        return (EvaluateAnswer(evaluation, model, data, seconds: seconds), result)
    }

    /// What a person is to know of how the data was taken, before anything is spent on it.
    private func tell(_ notes: [Decision], _ progress: @Sendable (InferenceEvent) -> Void) {
        for note in notes {
            progress(.notice(FleetNotice(note.isWarning ? .warning : .info, "\(note.subject): \(note.text)")))
        }
    }
}
