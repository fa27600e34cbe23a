// SPDX-License-Identifier: Apache-2.0
// parrot._native: the C library seen from CPython, and nothing more. It takes buffers, checks type,
// contiguity, writability and exact length, releases the GIL around the call, and turns codes into
// the exceptions of parrot.base.errors. Stable ABI of CPython 3.11: one build serves all later ones.
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "parrot.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_ON_STACK = 64 };

typedef struct module_state {
    PyObject *errors[11];  // by -code; NULL: EngineError
    PyObject *engine_error;
    PyTypeObject *model_type, *work_type, *abort_type, *sampler_type;
} module_state;

typedef struct model_object {
    PyObject_HEAD
    parrot_model *model;
    PyObject *lender;  // of a twin: the model whose weights it borrows; else NULL
} model_object;

typedef struct work_object {
    PyObject_HEAD
    void *area;
    size_t size;
    int is_busy;
} work_object;

typedef struct abort_object {
    PyObject_HEAD
    volatile int flag;
} abort_object;

typedef struct sampler_object {
    PyObject_HEAD
    parrot_sampler sampler;
    parrot_sampling how;
    int is_utf8;
    size_t n_vocab, n_banned;
    int32_t *banned, *order;
} sampler_object;

static module_state *state_of(PyObject *self) {
    return (module_state *)PyType_GetModuleState(Py_TYPE(self));
}

static PyObject *raise_fault(module_state *state, int code, const char *text) {
    size_t i = (size_t)-code;
    PyObject *type = i < sizeof state->errors / sizeof *state->errors ? state->errors[i] : NULL;
    // A path in it may be of any bytes, and may have been cut inside a character.
    PyObject *words = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    if (words) PyErr_SetObject(type ? type : state->engine_error, words);
    Py_XDECREF(words);
    return NULL;
}

// ---- buffers

// A C-contiguous buffer of `format` ("f" or "i") with exactly n items; n < 0: any number.
static int get_buffer(PyObject *object, Py_buffer *view, const char *format, Py_ssize_t n,
                      int is_writable, const char *name) {
    int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (is_writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) != 0) return -1;
    const char *seen = view->format ? view->format : "B";
    if (*seen == '<' || *seen == '=' || *seen == '@') seen++;
    Py_ssize_t item_size = 4;
    if (view->itemsize != item_size || strcmp(seen, format) != 0 ||
        (n >= 0 && view->len != n * item_size) ||
        (size_t)view->buf % (size_t)item_size != 0) {
        PyErr_Format(PyExc_ValueError, "%s: %zd bytes of format %s, expected %zd items of format %s",
                     name, view->len, seen, n, format);
        PyBuffer_Release(view);
        return -1;
    }
    return 0;
}

// ---- Work, Abort

static void work_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    free(((work_object *)self)->area);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyType_Slot work_slots[] = {
    {Py_tp_dealloc, work_dealloc},
    {Py_tp_doc, (void *)"Scratch memory of one forward call at a time; made by Model.work."},
    {0, NULL}};
static PyType_Spec work_spec = {"parrot._native.Work", sizeof(work_object), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, work_slots};

static PyObject *abort_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Abort", names)) return NULL;
    abort_object *self = PyObject_New(abort_object, type);
    if (self) self->flag = 0;
    return (PyObject *)self;
}

static void plain_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *abort_set(PyObject *self, PyObject *unused) {
    (void)unused;
    ((abort_object *)self)->flag = 1;
    Py_RETURN_NONE;
}

static PyObject *abort_clear(PyObject *self, PyObject *unused) {
    (void)unused;
    ((abort_object *)self)->flag = 0;
    Py_RETURN_NONE;
}

static PyObject *abort_is_set(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(((abort_object *)self)->flag);
}

static PyMethodDef abort_methods[] = {
    {"set", abort_set, METH_NOARGS, "End the running call between two chunks of rows."},
    {"clear", abort_clear, METH_NOARGS, "Make the flag ready for another call."},
    {"is_set", abort_is_set, METH_NOARGS, "True after set()."},
    {NULL, NULL, 0, NULL}};
static PyType_Slot abort_slots[] = {
    {Py_tp_new, abort_new},
    {Py_tp_dealloc, plain_dealloc},
    {Py_tp_methods, abort_methods},
    {Py_tp_doc, (void *)"A flag that any thread may set to end a forward call."},
    {0, NULL}};
static PyType_Spec abort_spec = {"parrot._native.Abort", sizeof(abort_object), 0,
                                 Py_TPFLAGS_DEFAULT, abort_slots};

// ---- Model

static PyObject *model_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"path", "threads", "mapped", "cpu", NULL};
    PyObject *path = NULL;
    unsigned int n_threads = 0;
    int is_mapped = 0;
    const char *cpu = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&|Ipz:Model", names, PyUnicode_FSConverter,
                                     &path, &n_threads, &is_mapped, &cpu)) {
        return NULL;
    }
    parrot_options options = {n_threads, is_mapped ? PARROT_MAPPED : 0, cpu};
    parrot_fault fault = {0};
    parrot_model *model;
    const char *bytes = PyBytes_AsString(path);
    int err;
    Py_BEGIN_ALLOW_THREADS
    err = parrot_model_open(&model, bytes, &options, &fault);
    Py_END_ALLOW_THREADS
    Py_DECREF(path);
    if (err) return raise_fault(PyType_GetModuleState(type), err, fault.text);
    model_object *self = PyObject_New(model_object, type);
    if (!self) {
        parrot_model_close(model);
        return NULL;
    }
    self->model = model;
    self->lender = NULL;
    return (PyObject *)self;
}

static void model_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    parrot_model_close(((model_object *)self)->model);
    Py_XDECREF(((model_object *)self)->lender);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *model_describe(PyObject *self, PyObject *unused) {
    (void)unused;
    const parrot_model *m = ((model_object *)self)->model;
    const parrot_shape *s = parrot_model_shape(m);
    return Py_BuildValue(
        "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:y#,s:s,s:I,s:O,s:K,s:n}", "n_layer", s->n_layer,
        "n_embd", s->n_embd, "head_size", s->head_size, "n_ffn", s->n_ffn, "n_vocab", s->n_vocab,
        "rank_w", s->rank_w, "rank_a", s->rank_a, "rank_v", s->rank_v, "rank_g", s->rank_g, "id",
        (const char *)parrot_model_id(m), (Py_ssize_t)8, "cpu", parrot_model_cpu(m), "threads",
        parrot_model_threads(m), "repacked", parrot_model_is_repacked(m) ? Py_True : Py_False,
        "bytes_per_token", (unsigned long long)parrot_model_bytes_per_token(m), "state_len",
        (Py_ssize_t)parrot_state_len(s));
}

static PyObject *model_work(PyObject *self, PyObject *args) {
    Py_ssize_t n_rows;
    if (!PyArg_ParseTuple(args, "n:work", &n_rows)) return NULL;
    if (n_rows < 1) return PyErr_Format(PyExc_ValueError, "work: %zd rows, expected >= 1", n_rows);
    size_t size = parrot_work_size(((model_object *)self)->model, (size_t)n_rows);
    work_object *work = PyObject_New(work_object, state_of(self)->work_type);
    if (!work) return NULL;
    work->size = size;
    work->is_busy = 0;
    work->area = NULL;
    if (posix_memalign(&work->area, 64, size) != 0) {
        work->area = NULL;
        Py_DECREF(work);
        return PyErr_NoMemory();
    }
    return (PyObject *)work;
}

// ---- Model.adapt

typedef struct lora_buffers {
    Py_buffer a, b;
} lora_buffers;

static void lora_dims(const parrot_shape *s, uint32_t matrix, Py_ssize_t *n_in, Py_ssize_t *n_out) {
    *n_in = matrix == PARROT_FFN_VALUE ? s->n_ffn : s->n_embd;
    *n_out = matrix == PARROT_FFN_KEY ? s->n_ffn : s->n_embd;
}

// (layer, matrix, rank, a f32, b f32) -> update, its buffers held.
static int take_update(PyObject *item, const parrot_shape *s, parrot_lora *u, lora_buffers *held) {
    PyObject *a, *b;
    if (!PyArg_ParseTuple(item, "IIIOO:adapt", &u->layer, &u->matrix, &u->rank, &a, &b)) return -1;
    if (u->rank < 1 || u->rank > PARROT_LORA_RANK_MAX) {
        PyErr_Format(PyExc_ValueError, "adapt: rank %u, expected 1 to %d", u->rank,
                     PARROT_LORA_RANK_MAX);
        return -1;
    }
    Py_ssize_t n_in, n_out, rank = (Py_ssize_t)u->rank;
    lora_dims(s, u->matrix, &n_in, &n_out);
    if (get_buffer(a, &held->a, "f", rank * n_in, 0, "lora a") != 0) return -1;
    if (get_buffer(b, &held->b, "f", rank * n_out, 0, "lora b") != 0) {
        PyBuffer_Release(&held->a);
        return -1;
    }
    u->a = held->a.buf;
    u->b = held->b.buf;
    return 0;
}

static PyObject *twin_of(PyObject *self, const parrot_lora *updates, size_t n) {
    parrot_fault fault = {0};
    parrot_model *twin;
    int err = parrot_model_adapt(&twin, ((model_object *)self)->model, updates, n, &fault);
    if (err) return raise_fault(state_of(self), err, fault.text);
    model_object *made = PyObject_New(model_object, Py_TYPE(self));
    if (!made) {
        parrot_model_close(twin);
        return NULL;
    }
    made->model = twin;
    made->lender = Py_NewRef(self);
    return (PyObject *)made;
}

static PyObject *model_adapt(PyObject *self, PyObject *args) {
    PyObject *list, *result = NULL;
    if (!PyArg_ParseTuple(args, "O!:adapt", &PyTuple_Type, &list)) return NULL;
    if (((model_object *)self)->lender) {
        PyErr_SetString(PyExc_ValueError, "adapt: this model is a twin already");
        return NULL;
    }
    Py_ssize_t n = PyTuple_Size(list), taken = 0;
    parrot_lora *updates = PyMem_Calloc((size_t)n + 1, sizeof *updates);
    lora_buffers *held = PyMem_Calloc((size_t)n + 1, sizeof *held);
    if (updates && held) {
        const parrot_shape *s = parrot_model_shape(((model_object *)self)->model);
        while (taken < n && take_update(PyTuple_GetItem(list, taken), s, &updates[taken],
                                        &held[taken]) == 0) {
            taken++;
        }
        if (taken == n) result = twin_of(self, updates, (size_t)n);
    } else {
        PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < taken; i++) {
        PyBuffer_Release(&held[i].a);
        PyBuffer_Release(&held[i].b);
    }
    PyMem_Free(updates);
    PyMem_Free(held);
    return result;
}

typedef struct forward_args {
    work_object *work;
    Py_buffer tokens, logits, *payloads;
    Py_ssize_t n_tokens, n_payloads;
    int which, has_logits;
    abort_object *abort;
    const int32_t *counts;
    Py_buffer counts_view;
} forward_args;

static void release_payloads(forward_args *a) {
    for (Py_ssize_t i = 0; i < a->n_payloads; i++) PyBuffer_Release(&a->payloads[i]);
    PyMem_Free(a->payloads);
    a->payloads = NULL;
    a->n_payloads = 0;
}

static int take_payloads(PyObject *list, Py_ssize_t state_len, forward_args *a) {
    Py_ssize_t n = PyTuple_Size(list);
    if (n < 0) return -1;
    a->payloads = PyMem_Malloc((size_t)(n > 0 ? n : 1) * sizeof *a->payloads);
    if (!a->payloads) {
        PyErr_NoMemory();
        return -1;
    }
    for (; a->n_payloads < n; a->n_payloads++) {
        PyObject *item = PyTuple_GetItem(list, a->n_payloads);
        if (get_buffer(item, &a->payloads[a->n_payloads], "f", state_len, 1, "state") != 0) {
            release_payloads(a);
            return -1;
        }
    }
    return 0;
}

// counts[i] tokens belong to payload i; they must use up the tokens. Neighbours must differ, or they
// would be one run and have one row of logits.
static int fill_rows(const forward_args *a, parrot_row *rows) {
    const int32_t *tokens = a->tokens.buf;
    Py_ssize_t row = 0, i = 0;
    for (; i < a->n_payloads; i++) {
        Py_ssize_t n = a->counts[i];
        if (n < 1 || n > a->n_tokens - row) break;
        if (i > 0 && a->payloads[i].buf == a->payloads[i - 1].buf) break;
        for (Py_ssize_t j = 0; j < n; j++, row++) {
            rows[row] = (parrot_row){tokens[row], a->payloads[i].buf};
        }
    }
    if (i == a->n_payloads && row == a->n_tokens) return 0;
    PyErr_SetString(PyExc_ValueError, "forward: counts must be >= 1 and sum to the tokens, and no "
                                      "state may follow itself");
    return -1;
}

static PyObject *run_forward(module_state *state, const parrot_model *model, forward_args *a) {
    parrot_row stack[ROWS_ON_STACK], *rows = stack;
    size_t n = (size_t)a->n_tokens, n_done = 0;
    if (n > ROWS_ON_STACK) rows = PyMem_Malloc(n * sizeof *rows);
    if (!rows) return PyErr_NoMemory();
    int err = 0;
    if (fill_rows(a, rows) != 0) {
        if (rows != stack) PyMem_Free(rows);
        return NULL;
    }
    if (a->work->is_busy) {  // looked at last: taking buffers may have run other threads
        if (rows != stack) PyMem_Free(rows);
        PyErr_SetString(PyExc_ValueError, "forward: this work area is in use by another call");
        return NULL;
    }
    a->work->is_busy = 1;
    Py_BEGIN_ALLOW_THREADS
    err = parrot_forward(model, a->work->area, a->work->size, rows, n,
                         (enum parrot_logits)a->which, a->has_logits ? a->logits.buf : NULL,
                         a->abort ? &a->abort->flag : NULL, &n_done);
    Py_END_ALLOW_THREADS
    a->work->is_busy = 0;
    if (rows != stack) PyMem_Free(rows);
    if (err == PARROT_E_ARG) {
        return raise_fault(state, err, "forward: a token outside the vocabulary; pass tokens of "
                                       "this model's tokenizer.");
    }
    if (err && err != PARROT_E_ABORTED) return raise_fault(state, err, parrot_error_name(err));
    return PyLong_FromSize_t(n_done);
}

static Py_ssize_t logits_rows(const forward_args *a) {
    return a->which == PARROT_LOGITS_ALL ? a->n_tokens
                                         : a->which == PARROT_LOGITS_ENDS ? a->n_payloads : 0;
}

static PyObject *model_forward(PyObject *self, PyObject *args) {
    module_state *state = state_of(self);
    const parrot_model *model = ((model_object *)self)->model;
    const parrot_shape *shape = parrot_model_shape(model);
    PyObject *work, *tokens, *payloads, *counts, *logits, *abort, *result = NULL;
    forward_args a = {0};
    if (!PyArg_ParseTuple(args, "O!OO!OiOO:forward", state->work_type, &work, &tokens,
                          &PyTuple_Type, &payloads, &counts, &a.which, &logits, &abort)) {
        return NULL;
    }
    a.work = (work_object *)work;
    if (a.which < PARROT_LOGITS_NONE || a.which > PARROT_LOGITS_ALL) {
        return PyErr_Format(PyExc_ValueError, "forward: which is %d, expected 0 to 2", a.which);
    }
    if (abort != Py_None && !PyObject_TypeCheck(abort, state->abort_type)) {
        PyErr_SetString(PyExc_TypeError, "forward: abort must be an Abort or None");
        return NULL;
    }
    a.abort = abort == Py_None ? NULL : (abort_object *)abort;
    if (get_buffer(tokens, &a.tokens, "i", -1, 0, "tokens") != 0) return NULL;
    a.n_tokens = a.tokens.len / 4;
    if (take_payloads(payloads, (Py_ssize_t)parrot_state_len(shape), &a) == 0) {
        if (get_buffer(counts, &a.counts_view, "i", a.n_payloads, 0, "counts") == 0) {
            a.counts = a.counts_view.buf;
            Py_ssize_t n = logits_rows(&a);
            a.has_logits = n > 0;
            if (n == 0 || get_buffer(logits, &a.logits, "f", n * (Py_ssize_t)shape->n_vocab, 1,
                                     "logits") == 0) {
                result = run_forward(state, model, &a);
                if (a.has_logits) PyBuffer_Release(&a.logits);
            }
            PyBuffer_Release(&a.counts_view);
        }
        release_payloads(&a);
    }
    PyBuffer_Release(&a.tokens);
    return result;
}

static PyObject *model_state_header(PyObject *self, PyObject *args) {
    const parrot_model *model = ((model_object *)self)->model;
    PyObject *payload;
    unsigned long long position;
    Py_buffer view;
    uint8_t header[PARROT_STATE_HEADER_SIZE];
    if (!PyArg_ParseTuple(args, "OK:state_header", &payload, &position)) return NULL;
    Py_ssize_t n = (Py_ssize_t)parrot_state_len(parrot_model_shape(model));
    if (get_buffer(payload, &view, "f", n, 0, "state") != 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
    parrot_state_header(model, view.buf, position, header);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    return PyBytes_FromStringAndSize((const char *)header, sizeof header);
}

static PyObject *model_state_read(PyObject *self, PyObject *args) {
    const parrot_model *model = ((model_object *)self)->model;
    const char *file;
    Py_ssize_t size;
    PyObject *payload;
    Py_buffer view;
    parrot_fault fault = {0};
    uint64_t position = 0;
    if (!PyArg_ParseTuple(args, "y#O:state_read", &file, &size, &payload)) return NULL;
    Py_ssize_t n = (Py_ssize_t)parrot_state_len(parrot_model_shape(model));
    if (get_buffer(payload, &view, "f", n, 1, "state") != 0) return NULL;
    int err = parrot_state_read(model, (const uint8_t *)file, (size_t)size, view.buf, &position,
                                &fault);
    PyBuffer_Release(&view);
    if (err) return raise_fault(state_of(self), err, fault.text);
    return PyLong_FromUnsignedLongLong(position);
}

static PyMethodDef model_methods[] = {
    {"describe", model_describe, METH_NOARGS, "Shape, id, CPU kernels, threads: a dict."},
    {"work", model_work, METH_VARARGS, "work(n_rows) -> Work, scratch for calls of that many rows."},
    {"forward", model_forward, METH_VARARGS,
     "forward(work, tokens i32, payloads tuple of f32, counts i32, which, logits f32, abort) -> "
     "rows lived. payload i lives counts[i] tokens."},
    {"adapt", model_adapt, METH_VARARGS,
     "adapt(tuple of (layer, matrix, rank, a f32, b f32)) -> a twin with these low-rank updates."},
    {"state_header", model_state_header, METH_VARARGS, "state_header(payload, position) -> bytes."},
    {"state_read", model_state_read, METH_VARARGS, "state_read(file, payload) -> position."},
    {NULL, NULL, 0, NULL}};
static PyType_Slot model_slots[] = {
    {Py_tp_new, model_new},
    {Py_tp_dealloc, model_dealloc},
    {Py_tp_methods, model_methods},
    {Py_tp_doc, (void *)"Model(path, threads=0, mapped=False, cpu=None): an open model file."},
    {0, NULL}};
static PyType_Spec model_spec = {"parrot._native.Model", sizeof(model_object), 0,
                                 Py_TPFLAGS_DEFAULT, model_slots};

// ---- Sampler

static int take_banned(PyObject *banned, sampler_object *self) {
    Py_buffer view;
    if (get_buffer(banned, &view, "i", -1, 0, "banned") != 0) return -1;
    self->n_banned = (size_t)view.len / sizeof *self->banned;
    self->banned = malloc((size_t)view.len + 1);
    self->order = malloc(self->n_vocab * sizeof *self->order);
    int is_enough = self->banned && self->order;
    if (is_enough) memcpy(self->banned, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    if (!is_enough) PyErr_NoMemory();
    return is_enough ? 0 : -1;
}

static PyObject *sampler_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"n_vocab", "banned", "seed",       "temperature", "top_p", "top_k",
                            "min_p",   "repetition", "window", "is_utf8",     NULL};
    Py_ssize_t n_vocab;
    unsigned long long seed = 0;
    unsigned int window = 0;
    int is_utf8 = 0;
    PyObject *banned;
    parrot_sampling how = {1.0f, 1.0f, 0.0f, 1.0f, 0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "nOKffiffIp:Sampler", names, &n_vocab, &banned,
                                     &seed, &how.temperature, &how.top_p, &how.top_k, &how.min_p,
                                     &how.repetition, &window, &is_utf8)) {
        return NULL;
    }
    if (n_vocab < 2 || n_vocab > 1 << 20 || window > PARROT_RECENT_MAX) {
        PyErr_SetString(PyExc_ValueError, "sampler: n_vocab or window out of range");
        return NULL;
    }
    sampler_object *self = PyObject_New(sampler_object, type);
    if (!self) return NULL;
    memset(&self->sampler, 0, sizeof self->sampler);
    self->sampler.rng_state = seed;
    self->sampler.recent_len = window;
    self->how = how;
    self->is_utf8 = is_utf8;
    self->n_vocab = (size_t)n_vocab;
    self->n_banned = 0;
    self->banned = self->order = NULL;
    if (take_banned(banned, self) != 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void sampler_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    free(((sampler_object *)self)->banned);
    free(((sampler_object *)self)->order);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *sampler_choose(PyObject *object, PyObject *args) {
    sampler_object *self = (sampler_object *)object;
    PyObject *logits;
    Py_ssize_t room;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "On:choose", &logits, &room)) return NULL;
    if (get_buffer(logits, &view, "f", (Py_ssize_t)self->n_vocab, 1, "logits") != 0) return NULL;
    int32_t token = parrot_sample(&self->sampler, &self->how, self->is_utf8,
                                  room > 0 ? (size_t)room : 0, self->banned, self->n_banned,
                                  view.buf, self->n_vocab, self->order);
    PyBuffer_Release(&view);
    if (token < 0) {
        return raise_fault(state_of(object), token,
                           "sampler: no logit that may be chosen is a number, or a setting is out "
                           "of range; the model or the state is damaged.");
    }
    return PyLong_FromLong(token);
}

static PyObject *sampler_feed(PyObject *object, PyObject *args) {
    sampler_object *self = (sampler_object *)object;
    int token;
    if (!PyArg_ParseTuple(args, "i:feed", &token)) return NULL;
    parrot_sampler_feed(&self->sampler, token, self->is_utf8);
    Py_RETURN_NONE;
}

static PyObject *sampler_need(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyLong_FromLong(((sampler_object *)object)->sampler.utf8_need);
}

static PyMethodDef sampler_methods[] = {
    {"choose", sampler_choose, METH_VARARGS, "choose(logits f32, room) -> token; spoils logits."},
    {"feed", sampler_feed, METH_VARARGS, "feed(token): it was said."},
    {"utf8_need", sampler_need, METH_NOARGS, "Continuation bytes due before text is whole."},
    {NULL, NULL, 0, NULL}};
static PyType_Slot sampler_slots[] = {
    {Py_tp_new, sampler_new},
    {Py_tp_dealloc, sampler_dealloc},
    {Py_tp_methods, sampler_methods},
    {Py_tp_doc, (void *)"One stream of choices; see parrot_sampler in parrot.h."},
    {0, NULL}};
static PyType_Spec sampler_spec = {"parrot._native.Sampler", sizeof(sampler_object), 0,
                                   Py_TPFLAGS_DEFAULT, sampler_slots};

// ---- module

static PyObject *cpu_names(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    PyObject *list = PyList_New(0);
    const char *name;
    for (size_t i = 0; list && (name = parrot_cpu_name(i)) != NULL; i++) {
        PyObject *text = PyUnicode_FromString(name);
        if (!text || PyList_Append(list, text) != 0) Py_CLEAR(list);
        Py_XDECREF(text);
    }
    return list;
}

static PyObject *read_bandwidth(PyObject *module, PyObject *args) {
    (void)module;
    unsigned int n_threads;
    Py_ssize_t size;
    double rate;
    if (!PyArg_ParseTuple(args, "In:read_bandwidth", &n_threads, &size)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    rate = size > 0 ? parrot_read_bandwidth(n_threads, (size_t)size) : 0.0;
    Py_END_ALLOW_THREADS
    return PyFloat_FromDouble(rate);
}

static PyMethodDef module_methods[] = {
    {"read_bandwidth", read_bandwidth, METH_VARARGS,
     "read_bandwidth(threads, size) -> bytes/s that the threads read together; 0.0: no memory."},
    {"cpu_names", cpu_names, METH_NOARGS, "Kernel sets this CPU can run, best first."},
    {NULL, NULL, 0, NULL}};

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot) {
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *slot && PyModule_AddType(module, *slot) == 0 ? 0 : -1;
}

static int take_error(PyObject *errors, const char *name, PyObject **slot) {
    *slot = PyObject_GetAttrString(errors, name);
    return *slot ? 0 : -1;
}

static int module_exec(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    PyObject *errors = PyImport_ImportModule("parrot.base.errors");
    if (!errors) return -1;
    static const struct {
        int code;
        const char *name;
    } names[] = {{PARROT_E_IO, "FileError"},        {PARROT_E_FORMAT, "FormatError"},
                 {PARROT_E_VERSION, "FormatError"}, {PARROT_E_CORRUPT, "CorruptError"},
                 {PARROT_E_MISMATCH, "MismatchError"}, {PARROT_E_ARG, "EngineError"}};
    int err = take_error(errors, "EngineError", &state->engine_error);
    for (size_t i = 0; !err && i < sizeof names / sizeof *names; i++) {
        err = take_error(errors, names[i].name, &state->errors[-names[i].code]);
    }
    Py_DECREF(errors);
    if (!err) err = add_type(module, &work_spec, &state->work_type);
    if (!err) err = add_type(module, &abort_spec, &state->abort_type);
    if (!err) err = add_type(module, &model_spec, &state->model_type);
    if (!err) err = add_type(module, &sampler_spec, &state->sampler_type);
    return err;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    module_state *state = PyModule_GetState(module);
    for (size_t i = 0; i < 11; i++) Py_VISIT(state->errors[i]);
    Py_VISIT(state->engine_error);
    Py_VISIT(state->model_type);
    Py_VISIT(state->work_type);
    Py_VISIT(state->abort_type);
    Py_VISIT(state->sampler_type);
    return 0;
}

static int module_clear(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    for (size_t i = 0; i < 11; i++) Py_CLEAR(state->errors[i]);
    Py_CLEAR(state->engine_error);
    Py_CLEAR(state->model_type);
    Py_CLEAR(state->work_type);
    Py_CLEAR(state->abort_type);
    Py_CLEAR(state->sampler_type);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};
static PyModuleDef module_def = {.m_base = PyModuleDef_HEAD_INIT,
                                 .m_name = "parrot._native",
                                 .m_doc = "The parrot engine in C.",
                                 .m_size = sizeof(module_state),
                                 .m_methods = module_methods,
                                 .m_slots = module_slots,
                                 .m_traverse = module_traverse,
                                 .m_clear = module_clear};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module_def); }
