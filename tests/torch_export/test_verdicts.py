"""What an export says of itself: the sizes that it holds for, sizes that are baked, whether it loads, and twice the same."""

import pytest

import graphkit as gk

torch = pytest.importorskip("torch")


class Branches(torch.nn.Module):
    def forward(self, x):
        return x * 2 if x.shape[1] > 10 else x + 100


class Plain(torch.nn.Module):
    def forward(self, x):
        return x * 2


@pytest.mark.parametrize(("size", "said"), [(6, "'n' up to 10 only"), (12, "'n' from 11 only")])
def test_a_branch_on_a_size_limits_the_sizes(size, said):
    findings = gk.export_report(Branches(), (torch.ones(2, size),), dynamic={"x": {1: "n"}}).findings
    assert [said in finding.message for finding in findings if finding.kind == "range"] == [True]


CONDITIONS = {
    "even": (lambda x: x * 2 if x.shape[2] % 2 == 0 else x + 1, "where 'h' is a multiple of 2 only"),
    "kernel": (lambda x: torch.nn.functional.avg_pool2d(x, (x.shape[2] // 4, 2)), "'h' is at least 16 and at most 19"),
    "order": (lambda x: x * 2 if x.shape[2] >= x.shape[3] else x, "where w <= h only"),
    "halves": (lambda x: x.view(1, 3, x.shape[2] // 2, 2, x.shape[3]).mean(3), "where 'h' is a multiple of 2 only"),
}


class Calls(torch.nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_on_sizes_is_said_as_it_is_meant(name):
    call, said = CONDITIONS[name]
    findings = gk.export_report(Calls(call), (torch.ones(1, 3, 16, 10),), dynamic={"x": {2: "h", 3: "w"}}).findings
    assert any(said in finding.message for finding in findings if finding.kind == "range"), findings


def test_no_limit_is_no_finding():
    for exporter in ("dynamo", "torchscript"):
        dynamic = {"x": {0: "n", 1: "c"}}
        assert gk.export_report(Plain(), (torch.ones(2, 6),), dynamic=dynamic, exporter=exporter).findings == ()


class Recurrent(torch.nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.r = kind(4, 5, **options)

    def forward(self, x):
        return self.r(x)[0]


@pytest.mark.parametrize(("kind", "batch_first"), [(torch.nn.GRU, False), (torch.nn.LSTM, True)])
def test_the_second_export_of_a_recurrent_net_equals_the_first(kind, batch_first):
    net, x = Recurrent(kind, batch_first=batch_first).eval(), torch.randn(8, 2, 4)
    reports = [gk.export_report(net, (x,), dynamic={"x": {0: "a", 1: "b"}}) for _ in range(2)]
    first, second = ([node.op_type for node in report.model.proto.graph.node] for report in reports)
    assert first == second
    assert reports[0].findings == reports[1].findings
    follows = True
    try:
        follows = bool(gk.validate(reports[1].model, torch=(net, (x,)), bind={"a": 6, "b": 3}, samples=1))
    except gk.SessionError:
        follows = False
    assert follows or reports[1].findings


def test_a_file_that_the_runtime_does_not_load_is_said():
    class Net(torch.nn.Module):
        def forward(self, a, b):
            return torch.istft(torch.complex(a, b), 64, 16, window=torch.hann_window(64))

    parts = tuple(torch.randn(1, 33, 10, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    report = gk.export_report(Net(), parts)
    said = [finding for finding in report.findings if finding.kind == "not-loaded"]
    try:
        gk.session(report.model, device="cpu")
    except gk.SessionError:
        assert "ScatterND" in said[0].message
    else:
        assert said == []
